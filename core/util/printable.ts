/**
 * Makes text of a peer safe to print; pure.
 *
 * @module
 */

/** How many characters of a peer's text are shown, unless a caller says otherwise. */
export const MAX_PRINTED_CHARS = 200;

/**
 * What a terminal or a log may take for more than a character: control characters
 * (C0, DEL, C1), line and paragraph separators, characters that change the direction of
 * text, and halves of surrogate pairs.
 */
const UNSAFE_PATTERN =
  /[\p{Cc}\p{Cs}\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/** Escapes that readers know. */
const KNOWN_ESCAPES: Readonly<Record<string, string>> = {
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

/**
 * Escapes what could forge a line of a log or drive a terminal, and cuts text that is
 * too long. The work is bounded by `maxChars`, however long the text is.
 *
 * @param text The text, which may come from a peer.
 * @param maxChars How many UTF-16 code units of it to keep.
 * @returns Printable text on one line.
 */
export function printable(
  text: string,
  maxChars: number = MAX_PRINTED_CHARS,
): string {
  const isCut = text.length > maxChars;
  const shown = (isCut ? text.slice(0, maxChars) : text).replace(
    UNSAFE_PATTERN,
    (char) => KNOWN_ESCAPES[char] ?? escapeChar(char),
  );
  return isCut
    ? `${shown}… (${text.length - maxChars} more characters)`
    : shown;
}

function escapeChar(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
