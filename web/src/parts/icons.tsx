/** Icons as strokes of the text's colour; what they mean is said by the button around them. */

const PATHS = {
  play: "M7 5v14l12-7z",
  pause: "M8 5v14M16 5v14",
  loop: "M4 12a5 5 0 0 1 5-5h9l-3-3m3 3-3 3M20 12a5 5 0 0 1-5 5H6l3 3m-3-3 3-3",
  close: "M6 6l12 12M18 6 6 18",
  upload: "M12 16V5m0 0L7 10m5-5 5 5M5 19h14",
  download: "M12 5v11m0 0 5-5m-5 5-5-5M5 20h14",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zm5-2 4.5 4.5",
  jobs: "M5 7h14M5 12h14M5 17h8",
  models: "M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9",
  trash: "M5 7h14M10 7V5h4v2M7 7l1 12h8l1-12",
  star: "M12 4l2.5 5.2 5.5.8-4 4 1 5.700-5-2.700-5 2.700 1-5.700-4-4 5.500-.8z",
  back: "M15 5l-7 7 7 7",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  note: "M9 18a3 3 0 1 1-2-2.800V6l11-2v11a3 3 0 1 1-2-2.800",
  words: "M4 6h16M4 11h10M4 16h13",
  split: "M4 12h4l8-7h4M8 12l8 7h4",
  again: "M19 12a7 7 0 1 1-2-5l2 2M19 5v4h-4",
  warning: "M12 4 2.500 20h19zM12 10v5m0 2v.500",
  cut: "M6 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4zm0 12a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM8 7l12 11M8 17 20 6",
  filter: "M4 6h16M7 12h10M10 18h4",
  tag: "M4 5v7l8 8 7-7-8-8zM8 9h.010",
  list: "M4 6h16M4 12h16M4 18h16",
  grid: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  pen: "M5 19l1-4L16 5l3 3L9 18z",
  help: "M9 9a3 3 0 1 1 4 2.800c-.7.4-1 .9-1 2.200m0 3v.500",
  follow: "M12 4v16M5 9l-2 3 2 3M19 9l2 3-2 3",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  const filled = name === "play";
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" fill={filled ? "currentColor" : "none"} stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round">
      <path d={PATHS[name]} />
    </svg>
  );
}
