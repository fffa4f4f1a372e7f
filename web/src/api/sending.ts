/** Bodies that take a while: XMLHttpRequest, because fetch cannot tell how much was sent. */

import { Problem } from "./client";

export interface Answer {
  status: number;
  /** Seconds. */
  retryAfter: number | null;
  body: unknown;
}

export class Aborted extends Error {}

export function sendBody(
  method: "POST" | "PUT",
  url: string,
  body: Blob | FormData | null,
  headers: Record<string, string>,
  signal: AbortSignal,
  progress?: (sent: number) => void,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    if (progress) request.upload.onprogress = (event) => progress(event.loaded);
    request.onload = () =>
      resolve({
        status: request.status,
        retryAfter: Number(request.getResponseHeader("Retry-After")) || null,
        body: parsed(request.responseText),
      });
    request.onerror = () => reject(new Problem(0, {}));
    request.onabort = () => reject(new Aborted());
    request.onloadend = () => signal.removeEventListener("abort", abort);
    signal.addEventListener("abort", abort);
    if (signal.aborted) reject(new Aborted());
    else request.send(body);
  });
}

/** Wait, unless it is called off. */
export function pause(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const off = () => (clearTimeout(timer), reject(new Aborted()));
    const timer = setTimeout(() => (signal.removeEventListener("abort", off), resolve()), seconds * 1000);
    signal.addEventListener("abort", off, { once: true });
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
