// Package emulator is a Bitrix24 portal in memory, over real HTTP, as unforgiving as the real one: telephony, its statistics and recordings,
// the CRM objects that calls make, users, lines, batch, limits, and faults on demand.
//
// It shares no code with the client, so that a misreading of the documentation on one side shows on the other. What it does follows
// reference/bitrix24-rest.md; where the documentation and the portal's own source differ, the source.
//
// The webhook is http://HOST/rest/1/demo/<method>, the portal's page is at /, recordings are at /records/<file>.
package emulator
