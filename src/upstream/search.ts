/** What Hearth asks of a search engine. */

export type SearchQuery = {
  query: string;
  maxResults: number;
  includeDomains: readonly string[];
  excludeDomains: readonly string[];
};

export type SearchResult = { title: string; url: string; content: string };

export interface SearchEngine {
  readonly name: SearchEngineName;
  /** On this machine or its network: no third party is paid for it. */
  readonly local: boolean;
  /** The best first; none is an answer too. @throws AppError `upstream_unavailable`. */
  search(query: SearchQuery): Promise<SearchResult[]>;
}

export type SearchEngineName = "searxng" | "brave" | "tavily";
