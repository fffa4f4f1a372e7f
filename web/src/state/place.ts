/** Where in the page we are: kept behind the # of the address, so that reload, back and links work. */

import { signal } from "@preact/signals";

export type Place =
  | { view: "library"; library: string | null }
  | { view: "track"; track: string }
  | { view: "models" };

function read(): Place {
  const [view, id] = location.hash.replace(/^#\/?/, "").split("/");
  if (view === "tracks" && id) return { view: "track", track: id };
  if (view === "models") return { view: "models" };
  return { view: "library", library: view === "libraries" && id ? id : null };
}

export const place = signal<Place>(read());

addEventListener("hashchange", () => {
  place.value = read();
});

export const toTrack = (id: string): string => `#/tracks/${id}`;
export const toLibrary = (id: string): string => `#/libraries/${id}`;

export function go(hash: string): void {
  location.hash = hash;
}
