/** What the server makes once, at the first request for it; until then it says when to ask again. */

import { Problem } from "./client";

const ASKED_AT_MOST = 60;
const AGAIN_MS = 1000;

/** The good answer. Throws Problem. */
export async function rendered(url: string): Promise<Response> {
  for (let asked = 1; asked <= ASKED_AT_MOST; asked++) {
    const response = await fetch(url, { credentials: "same-origin" });
    if (response.status === 200) return response;
    if (response.status !== 202 && response.status !== 503) throw new Problem(response.status, await response.json().catch(() => ({})));
    const wait = Number(response.headers.get("Retry-After") ?? 1);
    await new Promise((again) => setTimeout(again, Math.max(wait, 0.2) * AGAIN_MS));
  }
  throw new Problem(0, {});
}
