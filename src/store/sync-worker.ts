/**
 * A thread of its own for the log's syncs. Bun's pool is shared by the whole process and narrow: a few password
 * hashes in it would hold back every durable answer.
 */
import { fdatasyncSync } from "node:fs";
import { describeError } from "../base/log.ts";

declare const self: Worker;

/** Answers "" or what went wrong. There is no second try: after a failed sync the next one says ok and lies. */
self.onmessage = ({ data: log }: MessageEvent<number>) => {
  let failed = "";
  try {
    fdatasyncSync(log);
  } catch (error) {
    failed = describeError(error);
  }
  self.postMessage(failed);
};
