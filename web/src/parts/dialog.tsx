/** Questions of our own instead of the browser's: what is asked stands in a signal, one <dialog> shows it. */

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { ComponentChildren } from "preact";

interface Question {
  title: string;
  text?: string;
  /** What the button says that goes ahead. */
  yes: string;
  danger?: boolean;
  /** Asks for a line of text that begins so. */
  line?: { label: string; value: string };
  answer: (given: string | null) => void;
}

const asked = signal<Question | null>(null);

/** Whether somebody says yes. */
export const confirmed = (question: Pick<Question, "title" | "text" | "yes" | "danger">): Promise<boolean> =>
  new Promise((resolve) => {
    asked.value = { ...question, answer: (given) => resolve(given !== null) };
  });

/** A line of text, or null. */
export const askFor = (question: Pick<Question, "title" | "text" | "yes"> & { label: string; value?: string }): Promise<string | null> =>
  new Promise((resolve) => {
    const { label, value = "", ...rest } = question;
    asked.value = { ...rest, line: { label, value }, answer: resolve };
  });

/** Stands once, at the end of the page. */
export function Questions() {
  const question = asked.value;
  if (question === null) return null;
  const end = (given: string | null) => {
    asked.value = null;
    question.answer(given);
  };
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const line = new FormData(event.currentTarget as HTMLFormElement).get("line");
    const given = typeof line === "string" ? line.trim() : "";
    if (question.line && given === "") return;
    end(given);
  };
  return (
    <Dialog title={question.title} onClose={() => end(null)}>
      <form onSubmit={submit as never}>
        {question.text && <p>{question.text}</p>}
        {question.line && (
          <label>
            {question.line.label}
            <input name="line" defaultValue={question.line.value} maxLength={200} autocomplete="off" autofocus />
          </label>
        )}
        <footer>
          <button type="button" onClick={() => end(null)} autofocus={question.danger === true}>Cancel</button>
          <button class={question.danger ? "danger" : "primary"} autofocus={!question.line && !question.danger}>{question.yes}</button>
        </footer>
      </form>
    </Dialog>
  );
}

/** A modal <dialog>: the browser keeps the focus inside and gives it back. */
export function Dialog({ title, onClose, children, class: className }: { title: string; onClose: () => void; children: ComponentChildren; class?: string }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current!;
    const before = document.activeElement;
    dialog.showModal();
    return () => {
      dialog.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  const leave = (event: Event) => {
    event.preventDefault();
    onClose();
  };
  return (
    <dialog
      ref={ref}
      class={className}
      aria-label={title}
      onCancel={leave}
      onClick={(event) => event.target === ref.current && onClose()}
      onKeyDown={(event) => event.stopPropagation()}
    >
      <div class="sheet">
        <h2>{title}</h2>
        {children}
      </div>
    </dialog>
  );
}
