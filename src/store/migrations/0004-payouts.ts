/** Money out. */
export const payouts = `
CREATE TABLE payout (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES account (id),
  payment_hash TEXT NOT NULL,
  bolt11 TEXT NOT NULL,
  amount_msat INTEGER NOT NULL CHECK (amount_msat > 0),
  fee_limit_msat INTEGER NOT NULL CHECK (fee_limit_msat >= 0),
  state TEXT NOT NULL CHECK (state IN ('intent', 'sent', 'succeeded', 'failed', 'returned')),
  expires_at_ms INTEGER NOT NULL,
  -- Whether the node has ever said that it has it.
  known INTEGER NOT NULL DEFAULT 0 CHECK (known IN (0, 1)),
  created_at_ms INTEGER NOT NULL,
  ended_at_ms INTEGER,
  ended_by TEXT CHECK (ended_by IN ('node', 'owner', 'hearth')),
  preimage TEXT,
  fee_msat INTEGER CHECK (fee_msat >= 0),
  reason TEXT,
  CHECK ((state IN ('intent', 'sent')) = (ended_at_ms IS NULL)),
  CHECK ((ended_at_ms IS NULL) = (ended_by IS NULL)),
  CHECK ((state = 'succeeded') = (preimage IS NOT NULL)),
  CHECK ((state = 'succeeded') = (fee_msat IS NOT NULL)),
  CHECK ((state IN ('failed', 'returned')) = (reason IS NOT NULL))
) STRICT, WITHOUT ROWID;
-- A payment hash is sent once. One that never left may be tried again.
CREATE UNIQUE INDEX payout_hash ON payout (payment_hash) WHERE state <> 'returned';
CREATE INDEX payout_open ON payout (id) WHERE state IN ('intent', 'sent');
CREATE INDEX payout_account ON payout (account_id, created_at_ms);
CREATE INDEX payout_day ON payout (created_at_ms);
`;
