/**
 * Escapes untrusted text for errors and logs; pure.
 *
 * @module
 */

/** The default limit of characters. */
export const MAX_PRINTED_CHARS = 200;

/**
 * Characters that could affect a terminal or a log: control characters (C0, DEL, C1),
 * line and paragraph separators, bidirectional controls, and unpaired surrogates.
 */
const UNSAFE_PATTERN =
  /[\p{Cc}\p{Cs}\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

const KNOWN_ESCAPES: Readonly<Record<string, string>> = {
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

/**
 * Escapes control characters and truncates long text, so that it cannot forge log lines
 * or control a terminal. Its cost depends on `maxChars`, not on the length of the text.
 *
 * @param maxChars The maximum number of UTF-16 code units of the text to include.
 * @returns Printable text on a single line.
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
