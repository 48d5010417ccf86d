/** `hearth audit`: recomputes everything from the journal and says what does not add up. Reads only. */
import { existsSync } from "node:fs";
import { auditAccounts } from "../accounts/audit.ts";
import { auditCalls } from "../charge/audit.ts";
import { auditLedger } from "../ledger/audit.ts";
import { auditPayments } from "../payments/audit.ts";
import { openReader } from "../store/reader.ts";

/** The process's exit code. */
export function auditCommand(databasePath: string, print: (line: string) => void): number {
  if (!existsSync(databasePath)) {
    print(`There is no ledger at ${databasePath}; set HEARTH_DATA_DIR to the data directory.`);
    return 2;
  }
  const reader = openReader(databasePath);
  try {
    // One read transaction: a Hearth that runs meanwhile does not change what is compared.
    reader.all("BEGIN");
    const findings = [...auditLedger(reader), ...auditPayments(reader), ...auditCalls(reader), ...auditAccounts(reader)];
    const { transfers, accounts } = reader.get<{ transfers: bigint; accounts: bigint }>(
      "SELECT (SELECT count(*) FROM transfer) AS transfers, (SELECT count(*) FROM account) AS accounts")!;
    reader.all("COMMIT");
    for (const finding of findings) print(`${finding.rule}: ${finding.what}`);
    print(findings.length === 0 ? `ok: ${accounts} accounts equal ${transfers} transfers` : `${findings.length} findings`);
    return findings.length === 0 ? 0 : 1;
  } finally {
    reader.close();
  }
}
