/** A line to type one word after another into, with suggestions: arrows choose, Enter takes, Backspace on nothing takes back. */

import { useSignal } from "@preact/signals";
import { useEffect, useId, useRef } from "preact/hooks";

interface Props {
  label: string;
  placeholder?: string;
  suggest: (beginning: string) => Promise<string[]>;
  onPick: (word: string) => void;
  onBack?: () => void;
  autofocus?: boolean;
}

const PAUSE_MS = 120;

export function Combo({ label, placeholder, suggest, onPick, onBack, autofocus }: Props) {
  const id = useId();
  const typed = useSignal("");
  const found = useSignal<string[]>([]);
  const at = useSignal(-1);
  const open = useSignal(false);
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);

  const look = (text: string) => {
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => {
      suggest(text)
        .then((words) => {
          if (typed.value !== text) return;
          const chosen = found.value[at.value];
          found.value = words;
          at.value = chosen === undefined ? -1 : words.indexOf(chosen);
        })
        .catch(() => {}); // without suggestions it is a line to type into
    }, PAUSE_MS);
  };
  const pick = (word: string) => {
    if (word.trim() === "") return;
    onPick(word);
    typed.value = "";
    at.value = -1;
    look("");
  };
  const press = (event: KeyboardEvent) => {
    const by = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (by !== 0) {
      open.value = true;
      const places = found.value.length + 1; // one of them is what was typed
      at.value = ((at.value + 1 + by + places) % places) - 1;
    } else if (event.key === "Enter" || event.key === ",") pick(found.value[at.value] ?? typed.value);
    else if (event.key === "Backspace" && typed.value === "" && onBack) onBack();
    else if (event.key === "Escape" && open.value && found.value.length > 0) {
      open.value = false;
      event.stopPropagation();
    } else return;
    event.preventDefault();
  };
  const shown = open.value && found.value.length > 0;
  return (
    <span class="combo">
      <input
        role="combobox"
        aria-label={label}
        aria-expanded={shown}
        aria-controls={id}
        aria-autocomplete="list"
        aria-activedescendant={at.value >= 0 ? `${id}-${at.value}` : undefined}
        placeholder={placeholder}
        autocomplete="off"
        autofocus={autofocus}
        maxLength={64}
        value={typed.value}
        onInput={(event) => {
          typed.value = event.currentTarget.value;
          at.value = -1;
          open.value = true;
          look(typed.value);
        }}
        onFocus={() => {
          open.value = true;
          look(typed.value);
        }}
        onBlur={() => (open.value = false)}
        onKeyDown={press}
      />
      <ul role="listbox" id={id} aria-label={`${label}: suggestions`} hidden={!shown}>
        {found.value.map((word, n) => (
          <li
            key={word}
            id={`${id}-${n}`}
            role="option"
            aria-selected={n === at.value}
            onPointerDown={(event) => (event.preventDefault(), pick(word))}
          >
            {word}
          </li>
        ))}
      </ul>
    </span>
  );
}
