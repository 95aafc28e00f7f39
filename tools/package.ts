/**
 * The package as others get it: its entry points, what they export, and its files.
 */

/** A type, as `deno doc --json` writes it. */
type Type =
  | { readonly kind: "keyword" | "this"; readonly repr: string }
  | { readonly kind: "literal"; readonly value: Literal }
  | {
    readonly kind: "typeRef";
    readonly value: {
      readonly typeName: string;
      readonly typeParams?: readonly Type[];
    };
  }
  | {
    readonly kind: "union" | "intersection" | "tuple";
    readonly value: readonly Type[];
  }
  | {
    readonly kind: "array" | "parenthesized" | "rest" | "optional";
    readonly value: Type;
  }
  | {
    readonly kind: "typeOperator";
    readonly value: { readonly operator: string; readonly tsType: Type };
  }
  | {
    readonly kind: "indexedAccess";
    readonly value: { readonly objType: Type; readonly indexType: Type };
  }
  | {
    readonly kind: "conditional";
    readonly value: {
      readonly checkType: Type;
      readonly extendsType: Type;
      readonly trueType: Type;
      readonly falseType: Type;
    };
  }
  | {
    readonly kind: "infer";
    readonly value: { readonly typeParam: TypeParam };
  }
  | { readonly kind: "typeLiteral"; readonly value: Members }
  | {
    readonly kind: "mapped";
    readonly value: { readonly typeParam: TypeParam; readonly tsType?: Type };
  }
  | { readonly kind: "fnOrConstructor"; readonly value: FunctionType };

type Literal =
  | { readonly kind: "string"; readonly string: string }
  | { readonly kind: "number"; readonly number: number }
  | { readonly kind: "boolean"; readonly boolean: boolean };

interface TypeParam {
  readonly name: string;
  readonly constraint?: Type;
  readonly default?: Type;
}

interface FunctionType extends Signature {
  readonly constructor: boolean;
  readonly tsType: Type;
}

interface Signature {
  /** Of a method that is overloaded, it is the one that nobody sees. */
  readonly hasBody?: boolean;
  readonly params: readonly Param[];
  readonly typeParams?: readonly TypeParam[];
  readonly returnType?: Type;
}

type Param =
  | {
    readonly kind: "identifier";
    readonly name: string;
    readonly optional: boolean;
    readonly tsType?: Type;
  }
  | { readonly kind: "object" | "array"; readonly tsType?: Type }
  | { readonly kind: "rest"; readonly arg: Param; readonly tsType?: Type }
  | { readonly kind: "assign"; readonly left: Param; readonly tsType?: Type };

interface Documented {
  readonly jsDoc?: {
    readonly doc?: string;
    readonly tags?: readonly {
      readonly kind: string;
      readonly value?: string;
    }[];
  };
}

interface Member extends Documented {
  readonly name: string;
  readonly optional?: boolean;
  readonly readonly?: boolean;
  readonly isStatic?: boolean;
  readonly isAbstract?: boolean;
  readonly accessibility?: string;
}

interface Property extends Member {
  readonly tsType?: Type;
}

interface Method extends Member, Partial<Signature> {
  readonly kind: "method" | "getter" | "setter";
  readonly functionDef?: Signature;
}

interface Members {
  readonly properties?: readonly Property[];
  readonly methods?: readonly Method[];
}

interface Definition extends Members, Partial<Signature> {
  readonly constructors?:
    readonly (Documented & Signature & Pick<Member, "accessibility">)[];
  /** The class that is extended, or the interfaces. */
  readonly extends?: string | readonly Type[];
  readonly superTypeParams?: readonly Type[];
  readonly implements?: readonly Type[];
  readonly isAbstract?: boolean;
  readonly tsType?: Type;
}

/** One of what a name stands for. */
export interface Declaration extends Documented {
  readonly kind: string;
  readonly location: { readonly filename: string; readonly line: number };
  readonly def: Definition;
}

/** What an entry point exports. */
export interface EntryPoint {
  readonly module_doc?: NonNullable<Documented["jsDoc"]>;
  readonly symbols: readonly {
    readonly name: string;
    readonly declarations: readonly Declaration[];
  }[];
}

/** What is asked of `deno.json`. */
export interface Config {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly imports: Readonly<Record<string, string>>;
}

const root = new URL("..", import.meta.url);

/** Runs Deno in the root of the repository, and gives what it writes. */
async function deno(...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: root,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  if (!success) {
    throw new Error(`deno ${args[0]} failed: ${decoder.decode(stderr)}`);
  }
  return decoder.decode(stdout) || decoder.decode(stderr);
}

/** The configuration. */
export async function config(): Promise<Config> {
  return JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
}

/** The entry points, by the names that they are imported by. */
export async function documented(): Promise<Map<string, EntryPoint>> {
  const { exports } = await config();
  const json = await deno("doc", "--json", ...Object.values(exports));
  const { nodes }: { nodes: Record<string, EntryPoint> } = JSON.parse(json);
  return new Map(
    Object.entries(exports).map(([name, path]) => {
      const entry = nodes[new URL(path, root).href];
      if (entry === undefined) throw new Error(`"${name}" has no docs`);
      return [name, entry];
    }),
  );
}

/** The files that `deno publish` would send, sorted. */
export async function published(): Promise<string[]> {
  const output = await deno("publish", "--dry-run", "--allow-dirty");
  return [...output.matchAll(/^ +(file:\S+) \(/gm)]
    .map(([, url = ""]) => url.slice(root.href.length))
    .sort();
}

/** A module, as `deno info --json` writes it. */
interface Module {
  readonly specifier: string;
  readonly dependencies?: readonly {
    readonly code?: { readonly specifier?: string };
    readonly type?: { readonly specifier?: string };
  }[];
}

/** What an entry point is made of: its files, and what these import from elsewhere. */
export async function parts(
  path: string,
): Promise<{ files: string[]; strangers: string[] }> {
  const { modules }: { modules: readonly Module[] } = JSON.parse(
    await deno("info", "--json", path),
  );
  const isOwn = (specifier: string) => specifier.startsWith(root.href);
  const own = modules.filter(({ specifier }) => isOwn(specifier));
  const imported = own.flatMap(({ dependencies = [] }) =>
    dependencies.flatMap(({ code, type }) => [
      ...code?.specifier ? [code.specifier] : [],
      ...type?.specifier ? [type.specifier] : [],
    ])
  );
  return {
    files: own.map(({ specifier }) => specifier.slice(root.href.length)),
    strangers: imported.filter((specifier) => !isOwn(specifier)),
  };
}

/** All that is exported and its types, as text: one line for each member. */
export function surface(entries: ReadonlyMap<string, EntryPoint>): string {
  const names = new Map<string, { lines: Set<string>; from: string[] }>();
  for (const [entry, { symbols }] of entries) {
    for (const { name, declarations } of symbols) {
      const known = names.get(name) ?? { lines: new Set(), from: [] };
      known.from.push(entry);
      for (const declaration of declarations) {
        if (declaration.kind === "reference") continue;
        known.lines.add(declare(name, declaration));
      }
      names.set(name, known);
    }
  }
  const parts = [...names]
    .sort(([a], [b]) => a < b ? -1 : 1)
    .map(([, { lines, from }]) =>
      `// ${from.join(" ")}\n${[...lines].join("")}`
    );
  return `${HEAD}\n${parts.join("\n")}`;
}

const HEAD =
  `// All that the package exports: where from, and of which types. Written by
// \`deno task surface\`; do not edit it. A line that is gone or changed may break
// those who use it.
`;

function declare(name: string, { kind, def, jsDoc }: Declaration): string {
  switch (kind) {
    case "class": {
      const own = def.isAbstract ? "abstract class" : "class";
      const above = typeof def.extends === "string"
        ? ` extends ${def.extends}${typeArgs(def.superTypeParams)}`
        : "";
      return block(
        `${own} ${name}${typeParams(def.typeParams)}${above}${
          listed(" implements ", def.implements)
        }`,
        [
          ...(def.constructors ?? [])
            .filter(({ accessibility }) => accessibility !== "private")
            .map((one) => `constructor${params(one)}`),
          ...members(def),
        ],
      );
    }
    case "interface": {
      const above = typeof def.extends === "string" ? [] : def.extends;
      return block(
        `interface ${name}${typeParams(def.typeParams)}${
          listed(" extends ", above)
        }`,
        members(def),
      );
    }
    case "typeAlias":
      return `type ${name}${typeParams(def.typeParams)} = ${
        text(def.tsType)
      }\n`;
    case "variable":
      return `const ${name}: ${text(def.tsType)}\n`;
    case "function":
      return `function ${name}${signature(def)}${defaultOf(jsDoc)}\n`;
    default:
      throw new TypeError(`Cannot write a declaration of the kind "${kind}"`);
  }
}

function block(head: string, lines: readonly string[]): string {
  return [head, ...lines.map((line) => `  ${line}`), ""].join("\n");
}

function members({ properties = [], methods = [] }: Members): string[] {
  const isOverloaded = (name: string) =>
    methods.filter((one) => one.name === name).length > 1;
  return [
    ...properties.map((one) =>
      `${modifiers(one)}${one.readonly ? "readonly " : ""}${one.name}${
        one.optional ? "?" : ""
      }: ${text(one.tsType)}${defaultOf(one.jsDoc)}`
    ),
    ...methods
      .filter(({ name, kind, functionDef }) =>
        kind !== "method" || !functionDef?.hasBody || !isOverloaded(name)
      )
      .map(method),
  ].sort();
}

function method(one: Method): string {
  const { name, kind, optional, functionDef } = one;
  const type = functionDef ?? one;
  const before = modifiers(one);
  if (kind === "getter") {
    return `${before}get ${name}: ${text(type.returnType)}`;
  }
  const what = kind === "setter" ? "set " : "";
  return `${before}${what}${name}${optional ? "?" : ""}${signature(type)}`;
}

function modifiers({ accessibility, isStatic, isAbstract }: Member): string {
  const all = [
    accessibility,
    isStatic ? "static" : undefined,
    isAbstract ? "abstract" : undefined,
  ];
  return all.filter(Boolean).map((one) => `${one} `).join("");
}

/** What the option is if it is left out, as its doc comment says. */
function defaultOf(jsDoc: Documented["jsDoc"]): string {
  const tag = jsDoc?.tags?.find(({ kind }) => kind === "default");
  return tag?.value === undefined ? "" : ` // ${tag.value}`;
}

function signature(
  { params: all = [], typeParams: own, returnType }: Partial<Signature>,
): string {
  return `${typeParams(own)}${params({ params: all })}: ${text(returnType)}`;
}

function params({ params }: Signature): string {
  return `(${params.map((one) => param(one)).join(", ")})`;
}

function param(one: Param, isOptional = false): string {
  switch (one.kind) {
    case "rest":
      return `...${param(one.arg)}${one.tsType ? `: ${text(one.tsType)}` : ""}`;
    case "assign":
      return param(one.left, true);
    case "object":
    case "array":
    case "identifier": {
      const name = one.kind === "identifier" ? one.name : "options";
      const isOpen = isOptional || (one.kind === "identifier" && one.optional);
      return `${name}${isOpen ? "?" : ""}${
        one.tsType ? `: ${text(one.tsType)}` : ""
      }`;
    }
  }
}

function typeParams(all: readonly TypeParam[] = []): string {
  const texts = all.map(({ name, constraint, default: given }) =>
    `${name}${constraint ? ` extends ${text(constraint)}` : ""}${
      given ? ` = ${text(given)}` : ""
    }`
  );
  return texts.length === 0 ? "" : `<${texts.join(", ")}>`;
}

function typeArgs(all: readonly Type[] = []): string {
  return all.length === 0 ? "" : `<${all.map(text).join(", ")}>`;
}

function listed(before: string, all: readonly Type[] = []): string {
  return all.length === 0 ? "" : before + all.map(text).join(", ");
}

function text(type: Type | undefined): string {
  switch (type?.kind) {
    case undefined:
      return "(not said)";
    case "keyword":
    case "this":
      return type.repr;
    case "literal":
      return literal(type.value);
    case "typeRef":
      return type.value.typeName + typeArgs(type.value.typeParams);
    case "union":
      return type.value.map(text).join(" | ");
    case "intersection":
      return type.value.map(text).join(" & ");
    case "tuple":
      return `[${type.value.map(text).join(", ")}]`;
    case "array":
      return `${text(type.value)}[]`;
    case "parenthesized":
      return `(${text(type.value)})`;
    case "rest":
      return `...${text(type.value)}`;
    case "optional":
      return `${text(type.value)}?`;
    case "typeOperator":
      return `${type.value.operator} ${text(type.value.tsType)}`;
    case "indexedAccess":
      return `${text(type.value.objType)}[${text(type.value.indexType)}]`;
    case "conditional": {
      const { checkType, extendsType, trueType, falseType } = type.value;
      return `${text(checkType)} extends ${text(extendsType)} ? ${
        text(trueType)
      } : ${text(falseType)}`;
    }
    case "infer":
      return `infer ${typeParams([type.value.typeParam]).slice(1, -1)}`;
    case "typeLiteral":
      return `{ ${members(type.value).join("; ")} }`;
    case "mapped": {
      const { typeParam: { name, constraint }, tsType } = type.value;
      return `{ [${name} in ${text(constraint)}]: ${text(tsType)} }`;
    }
    case "fnOrConstructor": {
      const { constructor, tsType, ...rest } = type.value;
      return `${constructor === true ? "new " : ""}${
        typeParams(rest.typeParams)
      }${params(rest)} => ${text(tsType)}`;
    }
  }
}

function literal(value: Literal): string {
  switch (value.kind) {
    case "string":
      return JSON.stringify(value.string);
    case "number":
      return `${value.number}`;
    case "boolean":
      return `${value.boolean}`;
  }
}
