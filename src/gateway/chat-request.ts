/** A chat request as the gateway takes it: what `http/contract/chat.ts` let through. Pure types. */

export type ChatMessage = { role: string; content?: string | readonly { type: "text"; text: string }[] | null | undefined; [field: string]: unknown };

export type ChatRequest = {
  /** Undefined only in a directory's probe, which is answered for the cheapest model. */
  model: string;
  messages: readonly ChatMessage[];
  stream: boolean;
  /** Whether the client asked for the usage chunk of a stream. */
  includeUsage: boolean;
  /** Choices; each may fill the cap. */
  n: number;
  /** The whole parsed body. */
  body: Readonly<Record<string, unknown>>;
};
