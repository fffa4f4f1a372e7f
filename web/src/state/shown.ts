/** Whether tracks are lines or cards: as it was chosen last. */

import { signal } from "@preact/signals";

export type Shown = "list" | "grid";

export const shown = signal<Shown>(localStorage.getItem("shown") === "grid" ? "grid" : "list");

export function show(as: Shown): void {
  shown.value = as;
  localStorage.setItem("shown", as);
}
