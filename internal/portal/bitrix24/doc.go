// Package bitrix24 speaks the REST API of a Bitrix24 portal through an incoming webhook or a local application.
//
// Every error of a request is a *portal.Error, and its class says what the request has done at the portal. Two rules keep calls from
// being doubled:
//
//   - A request that only reads is repeated inside the client after every passing fault. A request that writes is repeated only after
//     answers which say that nothing was done; when the outcome is unknown the caller must look first.
//   - "Nothing was done" (portal.Unreachable) is claimed only when no connection was handed to the request. From then on a fault is an
//     unknown outcome, because bytes may have left.
//
// Requests share one bucket shaped like the portal's own: a burst, then a steady rate. Live requests go before bulk ones, and bulk leaves
// part of the bucket to them. Beside it the client watches the execution time that the portal reports for each method, and slows down
// before the portal blocks the method.
//
// The tokens of a local app are in a TokenStore that all processes of a site share. They are renewed only when the portal calls them expired,
// by one process at a time, and the new pair is stored before it is used: the old one is dead by then.
//
// The source of the API's rules is the documentation of Bitrix24 (limits, batch, system errors, telephony).
package bitrix24
