/**
 * The main thread's read-only connection. By key only: a scan here would stop every stream in the house. Callers that
 * must see a write they were answered need nothing; callers that must see one nobody waited for await `caughtUp`.
 */
import { openForReading } from "./open.ts";
import type { SqlValue } from "./command.ts";
import { SqliteTx } from "./sqlite-tx.ts";

export interface Reader {
  get<Row>(sql: string, ...values: SqlValue[]): Row | undefined;
  all<Row>(sql: string, ...values: SqlValue[]): Row[];
}

export function openReader(path: string): Reader & { close(): void } {
  const database = openForReading(path);
  const tx = new SqliteTx(database);
  return {
    get: (sql, ...values) => tx.get(sql, ...values),
    all: (sql, ...values) => tx.all(sql, ...values),
    close() {
      tx.finalize();
      database.close();
    },
  };
}
