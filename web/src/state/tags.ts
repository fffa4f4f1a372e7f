/** Tags that there are, for whoever types one. */

import { api, ok } from "../api/client";

const SHOWN = 8;

/** Those that begin so, but for these. */
export async function others(beginning: string, there: readonly string[]): Promise<string[]> {
  const query = { q: beginning, limit: SHOWN + there.length };
  const { items } = await ok(api.GET("/api/v1/tags/suggest", { params: { query } }));
  return items.map((each) => each.tag).filter((tag) => !there.includes(tag)).slice(0, SHOWN);
}

/** As the server writes it: lower case, single spaces; a comma ends it. */
export const clean = (typed: string): string => typed.toLowerCase().split(/\s+/).filter(Boolean).join(" ").slice(0, 64);
