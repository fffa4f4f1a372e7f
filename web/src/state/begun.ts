/** Uploads in parts that this browser has begun: a reload loses the files, not what has arrived of them. */

import { api, ok, Problem } from "../api/client";

export interface Begun {
  upload: string;
  library: string;
  name: string;
  bytes: number;
  modified: number;
}

const KEY = "uploads";

function read(): Begun[] {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "[]") as Begun[];
  } catch {
    return [];
  }
}

const write = (all: Begun[]): void => localStorage.setItem(KEY, JSON.stringify(all));

export const remember = (begun: Begun): void => write([...read().filter((each) => each.upload !== begun.upload), begun]);
export const forgetBegun = (upload: string): void => write(read().filter((each) => each.upload !== upload));

/** The same file as far as a browser can tell without reading all of it. */
export const isSame = (begun: Begun, file: File): boolean =>
  begun.name === file.name && begun.bytes === file.size && begun.modified === file.lastModified;

/** Those that the server still waits for, and how many bytes of each it has. */
export async function stillOpen(): Promise<{ begun: Begun; arrived: number }[]> {
  const found = [];
  for (const begun of read()) {
    try {
      const upload = await ok(api.GET("/api/v1/uploads/{upload}", { params: { path: { upload: begun.upload } } }));
      if (upload.state !== "open") forgetBegun(begun.upload);
      else found.push({ begun, arrived: upload.parts.reduce((sum, part) => sum + part.bytes, 0) });
    } catch (error) {
      if (error instanceof Problem && error.status === 404) forgetBegun(begun.upload);
      else throw error;
    }
  }
  return found;
}
