/**
 * The chat's page, as its server hands it out: three files and a policy that lets
 * the page load nothing else.
 *
 * @module
 */

interface File {
  readonly type: string;
  readonly body: string | Uint8Array<ArrayBuffer>;
}

const HEADERS = {
  // A page that is open should not go on with the script of an older server.
  "Cache-Control": "no-cache",
  // `connect-src 'self'` covers the WebSocket of the same host and port, too.
  "Content-Security-Policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
};

/** Reads the page and bundles its script; answers requests for them. */
export async function loadFiles(): Promise<(request: Request) => Response> {
  const [html, css, script] = await Promise.all([
    Deno.readFile(new URL("page/index.html", import.meta.url)),
    Deno.readFile(new URL("page/style.css", import.meta.url)),
    bundle("page/page.ts"),
  ]);
  const files = new Map<string, File>([
    ["/", { type: "text/html; charset=utf-8", body: html }],
    ["/style.css", { type: "text/css; charset=utf-8", body: css }],
    ["/page.js", { type: "text/javascript; charset=utf-8", body: script }],
  ]);
  return ({ method, url }) => {
    const file = files.get(new URL(url).pathname);
    if (file === undefined) return answer(404, "There is no such page\n");
    if (method !== "GET" && method !== "HEAD") {
      return answer(405, "Pages can only be read\n", { Allow: "GET, HEAD" });
    }
    return answer(200, file.body, { "Content-Type": file.type });
  };
}

function answer(
  status: number,
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Response {
  const type = { "Content-Type": "text/plain; charset=utf-8" };
  return new Response(body, {
    status,
    headers: { ...type, ...HEADERS, ...headers },
  });
}

/** Makes one script for browsers of a module and all that it imports. */
async function bundle(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "bundle",
      "--quiet",
      "--platform=browser",
      "--minify",
      new URL(path, import.meta.url).href,
    ],
    stdin: "null",
  }).output();
  if (!success) {
    throw new Error(
      `Cannot bundle ${path}: ${new TextDecoder().decode(stderr)}`,
    );
  }
  return stdout;
}
