/**
 * The world failing: a node that is down, a disk that is full, a request we cannot serve.
 * Expected business outcomes are return values, our own mistakes are assertions; neither comes here.
 * `http/errors.ts` alone knows which status a code becomes.
 */
export class AppError extends Error {
  override name = "AppError";
  readonly code: string;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** How long to wait before trying again, where we know. */
  readonly retryAfterSeconds: number | undefined;
  /** The request field at fault, in the caller's own spelling. */
  readonly param: string | undefined;

  constructor(
    code: string,
    message: string,
    options: { retryable?: boolean; retryAfterSeconds?: number; param?: string; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.param = options.param;
  }
}
