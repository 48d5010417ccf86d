/** How LND's gateway writes what JSON has no word for. Pure. */
import { z } from "zod";
import { decodeBase64, toHex } from "../base/bytes.ts";

/** 64-bit integers come as decimal text, and are left out when zero by some versions. */
export const integer = z.union([z.string().regex(/^-?\d+$/), z.int()]).optional().transform((value) => BigInt(value ?? 0));

/** 32 bytes in base64, as hex. */
export const hash = z.string().transform((text, context) => {
  const bytes = decodeBase64(text);
  if (bytes?.length === 32) return toHex(bytes);
  context.addIssue({ code: "custom", message: "no hash" });
  return z.NEVER;
});
