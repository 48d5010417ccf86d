/**
 * How many tokens a text is, without a vocabulary: a loaded one costs more memory than all of Hearth, and a stranger may
 * ask for quotes all day. Pure. Linear: a caller with long texts feeds pieces and yields in between.
 *
 * Three counts, named for what they are good for: `tokensAtMost` for quotes and reservations, `tokensLikely` to bill
 * when an upstream reports nothing believable, `tokensAtLeast` to stop an upstream that ignores its cap.
 */

/** Pieces are counted by themselves, so that one foreign paragraph does not change how the rest is counted. */
export const pieceCharacters = 1_024;
/** A run without a space longer than this is data (base64, a hash), not words. */
const longestWord = 40;
/** Letters of a word that one token covers; measured so that p99 holds for Swahili and Finnish, not only for English (test/fixtures/usage). */
const lettersPerToken = 3;
/** Consonants in a row that words have; each further one is taken as a token: made-up words, names, base64. */
const consonantsInWords = 2;
/** Blanks of one kind that one token covers. */
const blanksPerToken = 16;
/** a e i o u y, as bits of the letter's place in the alphabet. */
const vowels = (1 << 1) | (1 << 5) | (1 << 9) | (1 << 15) | (1 << 21) | (1 << 25);

/** Tokens per counted word or mark, for mostly Latin text; elsewhere bytes are the bound and no factor applies. */
const families: readonly [pattern: RegExp, factorPercent: number][] = [
  [/claude/i, 160],
  // Not gpt-2 or gpt-j, whose vocabularies are others.
  [/(^|[/:])(gpt-(oss|[3-9])|o[134]\b|chatgpt)/i, 102],
];
const otherFactorPercent = 135;

/** Percent to multiply a word count with, for the model of this id. */
export function familyFactorPercent(modelId: string): number {
  return families.find(([pattern]) => pattern.test(modelId))?.[1] ?? otherFactorPercent;
}

type Kind = 0 | 1 | 2 | 3; // space, letter, digit, mark

function kindOf(code: number): Kind {
  if (code === 32 || (code >= 9 && code <= 13)) return 0;
  if ((code >= 97 && code <= 122) || (code >= 65 && code <= 90) || code >= 128) return 1;
  return code >= 48 && code <= 57 ? 2 : 3;
}

function utf8Length(code: number): number {
  // Half of a surrogate pair: the pair is four bytes.
  if (code >= 0xd800 && code <= 0xdfff) return 2;
  return code < 0x80 ? 1 : code < 0x800 ? 2 : 3;
}

type PieceCount = { words: number; bytes: number; wordy: boolean };

function countPiece(text: string, from: number, to: number): PieceCount {
  let words = 0, bytes = 0, ascii = 0, letters = 0, consonants = 0, blanks = 0, run = 0, longestRun = 0, previous = 0;
  for (let i = from; i < to; i++) {
    const code = text.charCodeAt(i);
    const kind = kindOf(code);
    bytes += utf8Length(code);
    if (code < 128) ascii++;
    run = kind === 0 ? 0 : run + 1;
    if (run > longestRun) longestRun = run;
    if (kind === 1 && code < 128) {
      // A capital after a small letter begins a token, as in camelCase.
      if (code < 97 && previous >= 97 && previous <= 122) letters = 0;
      consonants = (vowels >> (code & 31)) & 1 ? 0 : consonants + 1;
      if (letters++ % lettersPerToken === 0 || consonants > consonantsInWords) words++;
    } else {
      letters = consonants = 0;
      // Digits and marks are a token each at worst, letters with an accent too, rarer ones as many as their bytes.
      if (kind !== 0) words += code < 0x800 ? 1 : utf8Length(code);
      else {
        // One space goes with the word after it. Line breaks are a token each; other blanks one at each change.
        blanks = code === previous ? blanks + 1 : 0;
        const breaks = (code >= 10 && code <= 12) || code === 13;
        if (breaks || (blanks === 0 ? code !== 32 || kindOf(previous) === 0 : blanks % blanksPerToken === 1)) words++;
      }
    }
    previous = code;
  }
  return { words, bytes, wordy: ascii * 10 >= (to - from) * 9 && longestRun <= longestWord };
}

/**
 * `tokens`: at most so many. `words`: what the factor was applied to. `byBytes`: tokens that are bytes, which no factor changes.
 * `likely`: the fairest guess, not rounded.
 */
export type TextCount = { tokens: number; words: number; byBytes: number; likely: number };

export function countText(text: string, factorPercent: number): TextCount {
  const count: TextCount = { tokens: 0, words: 0, byBytes: 0, likely: 0 };
  for (let from = 0; from < text.length; from += pieceCharacters) {
    const piece = countPiece(text, from, Math.min(text.length, from + pieceCharacters));
    if (piece.wordy) {
      count.words += piece.words;
      count.tokens += Math.min(piece.bytes, Math.ceil((piece.words * factorPercent) / 100));
    } else {
      count.byBytes += piece.bytes;
      count.tokens += piece.bytes;
    }
    count.likely += piece.wordy ? Math.min(piece.words, piece.bytes / 4) : piece.bytes / 3;
  }
  return count;
}

/** No real tokenizer makes more tokens of this text (p99 of the family, never more than its bytes). */
export function tokensAtMost(text: string, factorPercent: number): number {
  return countText(text, factorPercent).tokens;
}

/** The fairest guess: about four bytes a token for Latin text, three elsewhere, where a character is often one. */
export function tokensLikely(text: string): number {
  return Math.ceil(countText(text, 100).likely);
}

/** What an upstream has surely made by now, whatever its tokenizer: one token an event, eight bytes a token. */
export function tokensAtLeast(contentEvents: number, contentBytes: number): number {
  return Math.max(contentEvents, Math.floor(contentBytes / 8));
}
