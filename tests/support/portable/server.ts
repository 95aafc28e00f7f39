/** The other end of `cases.ts`. */

import { RequestError, ServerSocket } from "../../../server.ts";

/** Starts it. */
export async function serve(
  options: ConstructorParameters<typeof ServerSocket>[0] = {},
): Promise<ServerSocket> {
  /** What has been written into each diary, over all connections. */
  const diaries = new Map<string, string[]>();
  /** How often a door was knocked at. */
  const knocks = new Map<string, number>();
  const refusal = new Response("Not now\n", { status: 503 });
  const server = new ServerSocket({
    protocols: ["test.v1"],
    authorizeTimeout: 1_000,
    authorize({ url }) {
      const { pathname: path, searchParams } = new URL(url);
      if (path === "/refuse") return refusal.clone();
      if (path === "/never") return new Promise(() => {});
      if (path !== "/third") return path;
      const id = searchParams.get("id") ?? "";
      const count = (knocks.get(id) ?? 0) + 1;
      knocks.set(id, count);
      return count < 3 ? refusal.clone() : path;
    },
    ...options,
  });
  server.on("connect", (client, path) => {
    if (path === "/hello") client.send("hello");
    if (path === "/headers") client.send(client.headers.get("X-Test") ?? "");
  });
  server.on("message", (message) => {
    const { author, content, isBinary } = message;
    const { data } = message;
    switch (author.path) {
      case "/echo":
        return author.send(isBinary ? message.bytes : content);
      case "/drop":
        return author.terminate();
      case "/close":
        if (isClosing(data)) return author.close(data.code, data.reason);
        break;
      case "/diary": {
        const id = new URL(author.url).searchParams.get("id") ?? "";
        const diary = diaries.get(id) ?? [];
        diaries.set(id, diary);
        if (content === "drop") author.terminate();
        else if (content === "list") author.send(diary);
        else if (content === "count") author.send(diary.length);
        else diary.push(content);
      }
    }
  });
  server.handle("double", ({ data }) => "n" in data ? Number(data.n) * 2 : 0);
  server.handle("ask back", async ({ author }) => {
    return String(await author.request("asked back"));
  });
  server.handle("refuse", () => {
    throw new RequestError("Not now", "refused");
  });
  server.handle("never", () => new Promise(() => {}));
  await server.listen("127.0.0.1", 0);
  return server;
}

/** Whether somebody asks to be closed. */
function isClosing(data: unknown): data is { code: number; reason: string } {
  return typeof data === "object" && data !== null && "code" in data &&
    "reason" in data;
}
