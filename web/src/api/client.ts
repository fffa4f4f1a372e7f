/** The API: typed by its own OpenAPI document, one error class for everything that goes wrong. */

import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
export type Asset = Schemas["Asset"];
export type Job = Schemas["Job"];
export type Library = Schemas["Library"];
export type ModelCard = Schemas["ModelCard"];
export type Me = Schemas["Me"];
export type ProblemBody = Partial<Schemas["Problem"]>;

const ANSWER_MS = 60_000;

/** One that never ends would hold up whatever waits for it. */
const bounded = (request: Request): Promise<Response> => fetch(request, { signal: AbortSignal.any([request.signal, AbortSignal.timeout(ANSWER_MS)]) });

export const api = createClient<paths>({
  baseUrl: "/",
  fetch: bounded,
  credentials: "same-origin",
  querySerializer: { array: { style: "form", explode: false } },
});

/** What the server said no with (RFC 9457), or that it did not answer. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly body: ProblemBody,
  ) {
    super(body.detail || body.title || "The server did not answer.");
  }

  get code(): string {
    return this.body.code ?? "unreachable";
  }

  /** What to do about it. */
  get mend(): string {
    return this.body.mend ?? "Check that NeuraLib is running; the page goes on by itself when it is back.";
  }
}

interface Answered<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The body of a good answer. Throws Problem. */
export async function ok<T>(call: Promise<Answered<T>>): Promise<T> {
  let answered: Answered<T>;
  try {
    answered = await call;
  } catch {
    throw new Problem(0, {});
  }
  if (!answered.response.ok) {
    throw new Problem(answered.response.status, (answered.error ?? {}) as ProblemBody);
  }
  return answered.data as T;
}

export const contentUrl = (asset: string): string => `/api/v1/assets/${asset}/content`;

/** The bytes of an asset as JSON: transcripts and notes. */
export async function contentJson<T>(asset: string): Promise<T> {
  const response = await fetch(contentUrl(asset), { credentials: "same-origin" });
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
  return (await response.json()) as T;
}
