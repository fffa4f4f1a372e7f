/** A range that says what it is and how it stands, filled from where it rests. A double click lets it rest. */

import "../style/fader.css";

interface Props {
  name: string;
  of: string;
  value: number;
  min: number;
  max: number;
  step: number;
  /** Where it does nothing. */
  rest: number;
  /** Where the fill begins: the left end, or where it rests. */
  from: number;
  text: string;
  onSet: (value: number) => void;
}

export function Fader({ name, of, value, min, max, step, rest, from, text, onSet }: Props) {
  const share = (each: number) => (each - min) / (max - min);
  const [low, high] = [share(Math.min(from, value)), share(Math.max(from, value))];
  return (
    <label class={`fader ${name.toLowerCase()}`} style={{ "--low": low, "--high": high, "--rest": `${share(rest) * 100}%` }}>
      <span aria-hidden="true">
        {name} <b>{text}</b>
      </span>
      <input type="range" min={min} max={max} step={step} value={value} onInput={(event) => onSet(event.currentTarget.valueAsNumber)} onDblClick={() => onSet(rest)} aria-label={`${name} of ${of}`} aria-valuetext={text} title={`${name} ${text}`} />
    </label>
  );
}

export const gainText = (gain: number): string => (gain === 0 ? "silent" : `${gain < 1 ? "−" : ""}${Math.abs(20 * Math.log10(gain)).toFixed(1)} dB`);

export const panText = (pan: number): string => (Math.abs(pan) < 0.01 ? "centre" : `${Math.round(Math.abs(pan) * 100)} ${pan < 0 ? "left" : "right"}`);
