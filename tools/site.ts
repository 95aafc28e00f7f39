/**
 * Builds the site of the documentation into `.site/dist/`: the pages of this repository
 * by VitePress, with search and a light and a dark theme, and the reference by
 * `deno doc`. VitePress fails if a link between pages leads nowhere.
 *
 * Links to files that are no pages go to GitHub, if `GITHUB_REPOSITORY` names the
 * repository, as it does in a workflow; else only their text stays. `SITE_BASE` is the
 * path that the site is served at.
 */

import { files } from "./pages.ts";

const VITEPRESS = "vitepress@1.6.4";
const SITE = ".site";
const SOURCE = `${SITE}/src`;

/** The pages at the root, besides those of `docs/`. */
const ROOT_PAGES = [
  "README.md",
  "CHANGELOG.md",
  "CONTRIBUTING.md",
  "SECURITY.md",
];

/** The pages, in the order of the sidebar. */
const SIDEBAR: Readonly<Record<string, readonly string[]>> = {
  "Get started": ["tutorial", "api", "coming-from", "errors", "faq", "limits"],
  "Build": [
    ...["authentication", "messages", "rooms", "channels", "reconnecting"],
    ...["recovery", "backpressure", "ends", "testing", "debugging", "cli"],
  ],
  "Run": [
    ...["mounting", "deploy", "security", "reliability", "scaling", "inspect"],
    ...["telemetry", "performance", "compatibility"],
  ],
  "Understand": ["architecture", "protocol", "broker-protocol"],
};

function isPage(path: string): boolean {
  return ROOT_PAGES.includes(path) || /^docs\/[^/]+\.md$/.test(path);
}

/** Sends links to files that are no pages to GitHub. */
function withLinksToGitHub(file: string, text: string): string {
  const repository = Deno.env.get("GITHUB_REPOSITORY");
  return text.replaceAll(
    /(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)/g,
    (all, image: string, words: string, target: string) => {
      if (/^(?:[a-z][a-z+.-]*:|#)/i.test(target)) return all;
      const path = new URL(target, `file:///${file}`).pathname.slice(1);
      if (path === "docs/") return `[${words}](/docs/index.md)`;
      if (isPage(path)) return all.replaceAll("README.md", "index.md");
      if (image !== "") return all;
      return repository === undefined
        ? words
        : `[${words}](https://github.com/${repository}/blob/main/${path})`;
    },
  );
}

async function titleOf(name: string): Promise<string> {
  const text = await Deno.readTextFile(`docs/${name}.md`);
  const [, title = name] = /^# (.+)$/m.exec(text) ?? [];
  return title.replaceAll("`", "");
}

/** The sidebar, with pages that it does not know at the end. */
async function sections(): Promise<[string, readonly string[]][]> {
  const known = new Set(["README", ...Object.values(SIDEBAR).flat()]);
  const more: string[] = [];
  for await (const { name } of Deno.readDir("docs")) {
    const page = name.replace(/\.md$/, "");
    if (page !== name && !known.has(page)) more.push(page);
  }
  const entries = Object.entries(SIDEBAR);
  return more.length === 0 ? entries : [...entries, ["More", more.sort()]];
}

/** The configuration of VitePress. */
async function configuration(): Promise<string> {
  const sidebar = await Promise.all(
    (await sections()).map(async ([text, names]) => ({
      text,
      items: await Promise.all(names.map(async (name) => ({
        text: await titleOf(name),
        link: `/docs/${name}`,
      }))),
    })),
  );
  const repository = Deno.env.get("GITHUB_REPOSITORY");
  const config = {
    title: "@ws/events",
    description: "Event-based WebSockets for Deno",
    lang: "en",
    base: Deno.env.get("SITE_BASE") ?? "/",
    outDir: "../dist",
    ignoreDeadLinks: "localhostLinks",
    themeConfig: {
      search: { provider: "local" },
      nav: [
        { text: "Tutorial", link: "/docs/tutorial" },
        { text: "API", link: "/docs/api" },
        { text: "Reference", link: "/reference/", target: "_self" },
        { text: "Changelog", link: "/CHANGELOG" },
      ],
      sidebar,
      outline: [2, 3],
      ...repository === undefined ? {} : {
        socialLinks: [{
          icon: "github",
          link: `https://github.com/${repository}`,
        }],
      },
    },
  };
  return `export default ${JSON.stringify(config, undefined, 2)};\n`;
}

async function run(command: string, ...args: string[]): Promise<void> {
  const { success } = await new Deno.Command(command, { args }).spawn().status;
  if (!success) {
    throw new Error(`Cannot build the site: ${command} ${args[0]} failed`);
  }
}

await Deno.mkdir(SITE, { recursive: true });
await Deno.remove(SOURCE, { recursive: true }).catch(() => {});
await Deno.mkdir(`${SOURCE}/docs`, { recursive: true });
await Deno.mkdir(`${SOURCE}/.vitepress`);
await Deno.mkdir(`${SOURCE}/public`);
for await (const file of files()) {
  if (isPage(file)) {
    const text = withLinksToGitHub(file, await Deno.readTextFile(file));
    const page = file.replace("README.md", "index.md");
    await Deno.writeTextFile(`${SOURCE}/${page}`, text);
  } else if (/^docs\/[^/]+\.(?:png|svg)$/.test(file)) {
    await Deno.copyFile(file, `${SOURCE}/${file}`);
  }
}
await Deno.writeTextFile(
  `${SOURCE}/.vitepress/config.mjs`,
  await configuration(),
);
await Deno.writeTextFile(`${SITE}/package.json`, `{ "type": "module" }\n`);
const { name, exports } = JSON.parse(await Deno.readTextFile("deno.json"));
await run(
  "deno",
  "doc",
  "--html",
  "--quiet",
  `--name=${name}`,
  `--output=${SOURCE}/public/reference`,
  ...Object.values<string>(exports),
);
await run(
  "npm",
  "install",
  `--prefix=${SITE}`,
  "--no-audit",
  "--no-fund",
  "--ignore-scripts",
  VITEPRESS,
);
await run(
  "node",
  `${SITE}/node_modules/vitepress/bin/vitepress.js`,
  "build",
  SOURCE,
);
