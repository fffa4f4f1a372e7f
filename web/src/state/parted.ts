/** One file on its way in, in one request or in parts. What has arrived once is not sent again: the server knows the parts. */

import { api, ok, Problem, type ProblemBody, type Schemas } from "../api/client";
import { pause, sendBody } from "../api/sending";

export type Outcome = Schemas["UploadOutcome"];
type Upload = Schemas["Upload"];

/** Files from this size on come in parts. The server's parts have 8 MiB. */
export const IN_PARTS_FROM = 16 * 2 ** 20;
const ASKED_AT_MOST = 600;

export interface Shipment {
  file: File;
  library: string;
  /** The Idempotency-Key: a request whose answer was lost is not done twice. */
  key: string;
  /** The upload in parts that this file goes on with. */
  upload: string | null;
  signal: AbortSignal;
  progress: (sent: number) => void;
  begun: (upload: string) => void;
}

/** In one request. Throws Problem. */
export async function sendWhole({ file, library, key, signal, progress }: Shipment): Promise<Outcome> {
  const form = new FormData();
  form.append("file", file, file.name);
  const answer = await sendBody("POST", `/api/v1/libraries/${library}/assets`, form, { "Idempotency-Key": key }, signal, progress);
  const item = (answer.body as { items?: Outcome[] }).items?.[0];
  if (item?.asset) return item;
  throw new Problem(item?.status ?? answer.status, (item?.problem ?? answer.body) as ProblemBody);
}

/** In parts, those that are not there. Throws Problem; after one that passes, call it again. */
export async function sendParts(shipment: Shipment): Promise<Outcome> {
  const upload = await opened(shipment);
  if (upload.state === "failed") throw new Problem(422, (upload.error ?? {}) as ProblemBody);
  if (upload.state === "open") await bring(shipment, upload);
  return completed(upload.id, shipment.signal);
}

async function opened({ file, library, key, upload, begun }: Shipment): Promise<Upload> {
  if (upload) return ok(api.GET("/api/v1/uploads/{upload}", { params: { path: { upload } } }));
  const made = await ok(
    api.POST("/api/v1/uploads", {
      headers: { "Idempotency-Key": key },
      body: { library_id: library, filename: file.name, bytes: file.size } as never,
    }),
  );
  begun(made.id);
  return made;
}

async function bring({ file, signal, progress }: Shipment, upload: Upload): Promise<void> {
  const there = new Map(upload.parts.map((part) => [part.number, part.bytes]));
  let arrived = 0;
  for (const size of there.values()) arrived += size;
  progress(arrived);
  for (let number = 1; number <= upload.part_count; number++) {
    if (there.has(number)) continue;
    const from = (number - 1) * upload.part_bytes;
    const part = file.slice(from, from + upload.part_bytes);
    const before = arrived;
    const answer = await sendBody(
      "PUT", `/api/v1/uploads/${upload.id}/parts/${number}`, part, { "Content-Type": "application/octet-stream" }, signal,
      (sent) => progress(before + Math.min(sent, part.size)),
    );
    if (answer.status !== 204) throw new Problem(answer.status, answer.body as ProblemBody);
    arrived += part.size;
    progress(arrived);
  }
}

async function completed(upload: string, signal: AbortSignal): Promise<Outcome> {
  for (let asked = 0; asked < ASKED_AT_MOST; asked++) {
    const answer = await sendBody("POST", `/api/v1/uploads/${upload}/complete`, null, {}, signal);
    if (answer.status === 201) return answer.body as Outcome;
    if (answer.status !== 202) throw new Problem(answer.status, answer.body as ProblemBody);
    await pause(Math.max(0.2, answer.retryAfter ?? 1), signal);
  }
  throw new Problem(0, {});
}

/** Tell the server that the rest will not come; what it has it drops, now or when its time is over. */
export function abandon(upload: string): void {
  ok(api.DELETE("/api/v1/uploads/{upload}", { params: { path: { upload } } })).catch(() => {});
}
