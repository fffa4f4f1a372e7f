/** What slices will be called: the server's rule for name templates, so that an example can be shown while one types. */

export const FIELDS = ["title", "name", "class", "group", "n", "start", "bpm"] as const;
export type Values = Partial<Record<(typeof FIELDS)[number], string | number | null>>;

const FIELD = /\{(\w+)(?::0([1-9]))?\}/g;
const PADDED = new Set(["n", "group"]);

/** Why the server would refuse it; null: it would not. */
export function faultOf(template: string): string | null {
  if (template.trim() === "") return "a name needs something in it";
  for (const [whole, name, width] of template.matchAll(FIELD)) {
    if (!(FIELDS as readonly string[]).includes(name!) || (width && !PADDED.has(name!))) return `${whole} is not a field: use ${FIELDS.join(", ")}`;
  }
  if (template.split("{title}").length > 2) return "{title} may stand there once";
  if (/[{}]/.test(template.replace(FIELD, ""))) return "{ and } belong to fields such as {class} or {n:02}";
  return null;
}

/** One name for each, no two alike. */
export function namesOf(template: string, slices: readonly Values[]): string[] {
  const taken = new Set<string>();
  return slices.map((values) => {
    const name = filled(template, values);
    let unique = name;
    for (let number = 2; taken.has(unique); number++) unique = `${name} (${number})`;
    taken.add(unique);
    return unique;
  });
}

function filled(template: string, values: Values): string {
  const text = template.replace(FIELD, (_, name: keyof Values, width?: string) => {
    const value = values[name] ?? "";
    return width && value !== "" ? String(value).padStart(Number(width), "0") : String(value);
  });
  return text.split(/\s+/).join(" ").trim() || "slice";
}
