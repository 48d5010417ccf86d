/** The first schema: ledger, invoices, calls. */
export const spine = `
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE boot (id INTEGER PRIMARY KEY, started_at_ms INTEGER NOT NULL) STRICT;

-- The four figures are a cache of the journal. audited_*: what they were at the last audit, see ledger/audit.ts.
CREATE TABLE account (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  may_go_below_zero INTEGER NOT NULL CHECK (may_go_below_zero IN (0, 1)),
  debits_pending_msat INTEGER NOT NULL DEFAULT 0 CHECK (debits_pending_msat >= 0),
  debits_posted_msat INTEGER NOT NULL DEFAULT 0 CHECK (debits_posted_msat >= 0),
  credits_pending_msat INTEGER NOT NULL DEFAULT 0 CHECK (credits_pending_msat >= 0),
  credits_posted_msat INTEGER NOT NULL DEFAULT 0 CHECK (credits_posted_msat >= 0),
  audited_debits_msat INTEGER NOT NULL DEFAULT 0,
  audited_credits_msat INTEGER NOT NULL DEFAULT 0,
  created_at_ms INTEGER NOT NULL,
  CHECK (may_go_below_zero = 1 OR credits_posted_msat - debits_posted_msat - debits_pending_msat >= 0)
) STRICT, WITHOUT ROWID;

-- The journal. Append-only: a transfer is never edited, a pending one is answered by exactly one post or void.
CREATE TABLE transfer (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL CHECK (kind IN ('plain', 'pending', 'post', 'void')),
  debit_account TEXT NOT NULL REFERENCES account (id),
  credit_account TEXT NOT NULL REFERENCES account (id) CHECK (credit_account <> debit_account),
  amount_msat INTEGER NOT NULL CHECK (amount_msat > 0),
  code TEXT NOT NULL,
  pending_id TEXT CHECK ((pending_id IS NOT NULL) = (kind IN ('post', 'void'))),
  boot INTEGER NOT NULL REFERENCES boot (id),
  at_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX transfer_resolves ON transfer (pending_id) WHERE pending_id IS NOT NULL;
CREATE TRIGGER transfer_keeps_rows BEFORE DELETE ON transfer BEGIN SELECT RAISE(ABORT, 'transfers are append-only'); END;
CREATE TRIGGER transfer_keeps_values BEFORE UPDATE ON transfer BEGIN SELECT RAISE(ABORT, 'transfers are append-only'); END;

-- Pending transfers that are not answered yet: an index over the journal, provable from it.
CREATE TABLE open_reservation (
  id TEXT PRIMARY KEY REFERENCES transfer (id),
  debit_account TEXT NOT NULL,
  credit_account TEXT NOT NULL,
  amount_msat INTEGER NOT NULL,
  boot INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE invoice (
  payment_hash TEXT PRIMARY KEY,
  state TEXT NOT NULL CHECK (state IN ('open', 'credited')),
  purpose TEXT NOT NULL CHECK (purpose IN ('credential')),
  reference TEXT NOT NULL,
  bolt11 TEXT NOT NULL,
  amount_msat INTEGER NOT NULL CHECK (amount_msat > 0),
  token_id TEXT NOT NULL,
  quote_id TEXT NOT NULL UNIQUE,
  quote_fingerprint TEXT NOT NULL,
  quote_terms TEXT NOT NULL,
  rolls_over_from TEXT REFERENCES account (id),
  account_id TEXT UNIQUE REFERENCES account (id),
  credited_msat INTEGER,
  created_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  credited_at_ms INTEGER,
  CHECK ((state = 'credited') = (account_id IS NOT NULL AND credited_msat IS NOT NULL AND credited_at_ms IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX invoice_open ON invoice (reference) WHERE state = 'open';

-- One row per ended call. No prompt, no answer, no key: who paid is an account's public id.
CREATE TABLE call (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES account (id),
  endpoint TEXT NOT NULL,
  model TEXT NOT NULL,
  upstream TEXT NOT NULL,
  ending TEXT NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  estimated INTEGER NOT NULL CHECK (estimated IN (0, 1)),
  terms TEXT NOT NULL,
  reserved_msat INTEGER NOT NULL,
  cost_msat INTEGER NOT NULL,
  charged_msat INTEGER NOT NULL CHECK (charged_msat <= reserved_msat),
  duration_ms INTEGER NOT NULL,
  at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE daily_total (
  day TEXT PRIMARY KEY,
  calls INTEGER NOT NULL,
  earned_msat INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`;
