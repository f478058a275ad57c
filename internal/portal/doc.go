// Package portal says what a Bitrix24 portal knows of calls and employees: the words of its REST API, without the API.
//
// It is pure. Package bitrix24 speaks to a portal.
package portal
