/** Tokens, topups and refills, free calls, and what must happen once. */
export const accounts = `
CREATE TABLE invoice_wider (
  payment_hash TEXT PRIMARY KEY,
  state TEXT NOT NULL CHECK (state IN ('open', 'credited')),
  purpose TEXT NOT NULL CHECK (purpose IN ('call', 'topup', 'refill')),
  reference TEXT NOT NULL,
  bolt11 TEXT NOT NULL,
  amount_msat INTEGER NOT NULL CHECK (amount_msat > 0),
  token_id TEXT NOT NULL,
  quote_id TEXT NOT NULL UNIQUE,
  quote_fingerprint TEXT NOT NULL,
  quote_terms TEXT NOT NULL,
  rolls_over_from TEXT REFERENCES account (id),
  -- A refill goes to this account, and its credential is good while this key is.
  refills_account TEXT REFERENCES account (id),
  refills_key TEXT,
  claim_needs_secret INTEGER NOT NULL CHECK (claim_needs_secret IN (0, 1)),
  claim_secret_hash TEXT UNIQUE,
  account_id TEXT REFERENCES account (id),
  credited_msat INTEGER,
  created_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  credited_at_ms INTEGER,
  CHECK ((state = 'credited') = (account_id IS NOT NULL AND credited_msat IS NOT NULL AND credited_at_ms IS NOT NULL)),
  CHECK ((purpose = 'refill') = (refills_account IS NOT NULL)),
  CHECK ((purpose = 'call') = (claim_secret_hash IS NULL)),
  CHECK (purpose <> 'refill' OR account_id IS NULL OR account_id = refills_account)
) STRICT, WITHOUT ROWID;
INSERT INTO invoice_wider (payment_hash, state, purpose, reference, bolt11, amount_msat, token_id, quote_id, quote_fingerprint, quote_terms,
    rolls_over_from, claim_needs_secret, account_id, credited_msat, created_at_ms, expires_at_ms, credited_at_ms)
  SELECT payment_hash, state, 'call', reference, bolt11, amount_msat, token_id, quote_id, quote_fingerprint, quote_terms,
    rolls_over_from, 1, account_id, credited_msat, created_at_ms, expires_at_ms, credited_at_ms FROM invoice;
DROP TABLE invoice;
ALTER TABLE invoice_wider RENAME TO invoice;
CREATE INDEX invoice_open ON invoice (reference) WHERE state = 'open';
-- Every account is born with one invoice; refills add to it.
CREATE UNIQUE INDEX invoice_opens_account ON invoice (account_id) WHERE account_id IS NOT NULL AND purpose <> 'refill';

-- What opens an account beside the credential of its invoice. The token itself is never stored.
CREATE TABLE key (
  hash TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES account (id),
  payment_hash TEXT NOT NULL REFERENCES invoice (payment_hash),
  generation INTEGER NOT NULL CHECK (generation > 0),
  created_at_ms INTEGER NOT NULL,
  ended_at_ms INTEGER,
  ended_by TEXT CHECK (ended_by IN ('rotated', 'revoked')),
  UNIQUE (payment_hash, generation),
  CHECK ((ended_at_ms IS NULL) = (ended_by IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX key_live ON key (payment_hash) WHERE ended_at_ms IS NULL;

-- A payment is claimed once; the row says how, and where its money went.
CREATE TABLE claim (
  payment_hash TEXT PRIMARY KEY REFERENCES invoice (payment_hash),
  proof TEXT NOT NULL CHECK (proof IN ('credential', 'secret', 'preimage')),
  into_account TEXT NOT NULL REFERENCES account (id),
  moved_msat INTEGER NOT NULL CHECK (moved_msat >= 0),
  moves INTEGER NOT NULL,
  at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A payment hash or a bare preimage buys the quoted request once: used while this call is open or posted.
CREATE TABLE single_use (
  payment_hash TEXT PRIMARY KEY REFERENCES invoice (payment_hash),
  call_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Idempotency-Key. \`reference\` is the call or the payment it stands for.
CREATE TABLE request_key (
  account_id TEXT NOT NULL,
  purpose TEXT NOT NULL,
  key TEXT NOT NULL,
  body_hash TEXT NOT NULL,
  reference TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (account_id, purpose, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX request_key_age ON request_key (at_ms);

-- Free calls of an address, which is stored as a keyed hash only.
CREATE TABLE trial_call (
  call_id TEXT PRIMARY KEY,
  address_hash TEXT NOT NULL,
  at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX trial_call_address ON trial_call (address_hash, at_ms);
CREATE INDEX trial_call_age ON trial_call (at_ms);

CREATE TABLE account_day (
  account_id TEXT NOT NULL REFERENCES account (id),
  day TEXT NOT NULL,
  calls INTEGER NOT NULL,
  charged_msat INTEGER NOT NULL,
  PRIMARY KEY (account_id, day)
) STRICT, WITHOUT ROWID;
INSERT INTO account_day (account_id, day, calls, charged_msat)
  SELECT account_id, strftime('%Y-%m-%d', at_ms / 1000, 'unixepoch'), count(*), sum(charged_msat) FROM call GROUP BY 1, 2;
`;
