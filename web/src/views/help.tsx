/** All keys of the page in one place. */

import { signal } from "@preact/signals";
import { Dialog } from "../parts/dialog";

export const helping = signal(false);

type Keys = [keys: string, does: string][];

const SECTIONS: [string, Keys][] = [
  [
    "Everywhere",
    [
      ["?", "these keys"],
      ["/", "search the library"],
      ["U", "add songs"],
      ["J", "jobs"],
      ["Esc", "close, or choose none"],
    ],
  ],
  [
    "Library",
    [
      ["↑ ↓ PgUp PgDn Home End", "move; with Shift choose up to there"],
      ["Enter", "open the track"],
      ["Space", "hear it, and stop"],
      ["X or Ctrl Space", "choose it, or not"],
      ["Ctrl A", "choose all"],
      ["T", "tags: Enter adds, Backspace takes the last"],
      ["1 – 5", "stars"],
      ["Del", "to the trash"],
    ],
  ],
  [
    "Track",
    [
      ["Space", "play, pause"],
      ["← →", "5 s back or on; with Shift 1 s"],
      ["Home", "to the beginning"],
      ["M, S", "mute, solo the lane that has the focus"],
      ["L", "loop the selection"],
      ["R", "make the selection a region, in the slicer"],
      ["K", "a marker where it plays; twice on the ruler, too"],
      ["← →, Ctrl ← →", "on a region of the list: move its beginning, its end; with Shift by 1 ms"],
      ["Del", "on a region of the list: delete it"],
      ["Alt", "while dragging: without snapping"],
      ["Esc", "stop what is heard"],
      ["+ − 0", "nearer, farther, all of it"],
    ],
  ],
];

export function Help() {
  if (!helping.value) return null;
  return (
    <Dialog class="help" title="Keys" onClose={() => (helping.value = false)}>
      <div class="keys">
        {SECTIONS.map(([title, keys]) => (
          <section key={title}>
            <h3>{title}</h3>
            <dl>
              {keys.map(([key, does]) => (
                <div key={key}>
                  <dt>{key}</dt>
                  <dd>{does}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
      <footer>
        <button class="primary" autofocus onClick={() => (helping.value = false)}>Close</button>
      </footer>
    </Dialog>
  );
}
