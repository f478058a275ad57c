// Package ledger says how far each part of a call has come on its way into Bitrix24, and which steps exist.
//
//	        register           finish             stage                 attach                verify
//	Seen ───────────▶ Registered ─────▶ Finished ───────▶ RecordStaged ────────▶ RecordAttached ────────▶ Verified
//	  │ ▲                  │              │  ▲ ▲                │                       │                   │
//	  │ └──── vanish ──────┘              │  │ └──── unstage ───┘                       │                   │
//	  │                    │              │  └───────────────────────── reopen ─────────┴───────────────────┘
//	  └───── adopt ────────┴─────▶────────┤
//	                                      └────────────────── verify (no recording wanted) ────────────────▶ Verified
//
// A step is something that is known to have happened. A failure is no step: it is attempts, the last error and the next try beside the
// step. A request whose answer is not known yet is an Intent beside the step: it is written before the request leaves, and whoever finds
// one looks in the portal before sending again.
//
// The package is pure. Packages sqlite and, later, mysql keep it.
package ledger
