/** Jobs in plain words: what they do, how they ended, why, and what to do about it. */

import type { Job } from "../../api/client";

const VERBS: Record<string, string> = {
  separate: "Separating stems",
  midi: "Listening for notes",
  transcribe: "Writing down the words",
  analyze: "Measuring tempo and key",
  slice: "Slicing",
  mix: "Mixing",
  align: "Putting words on notes",
  export: "Packing",
  "stem-file": "Packing a stem file",
  pull: "Fetching weights",
};

export const verbOf = (job: Job): string => VERBS[job.operation] ?? job.operation;

export const ENDS: Record<string, string> = {
  succeeded: "done",
  failed: "failed",
  cancelled: "cancelled",
  timed_out: "took too long",
};

export const STAGES: Record<string, string> = {
  fetch: "fetching",
  decode: "decoding",
  load: "loading the model",
  infer: "computing",
  encode: "encoding",
  store: "storing",
  download: "downloading",
};

/** By the code of an error: what happened, as somebody would say it who was there. */
const REASONS: Record<string, string> = {
  "out-of-memory": "The device ran out of memory.",
  "decode-failed": "The recording is damaged and cannot be read.",
  "non-finite-audio": "The recording holds samples that are no numbers.",
  "audio-too-short": "The recording holds no sound to work on.",
  "audio-too-long": "The recording is longer than this installation takes.",
  "unsupported-audio": "The file is no audio that can be read here.",
  "weights-unavailable": "The model's weights are not on this machine and could not be fetched.",
  "weights-checksum-mismatch": "The weights are not the ones that were published, so they are not used.",
  "model-license-forbidden": "The licence of these weights does not allow what this installation is for.",
  "model-load-failed": "The model could not be loaded.",
  "executor-error": "The model broke on this recording.",
  "worker-lost": "The worker died while it ran this, more often than it may.",
  timeout: "It ran longer than it may.",
  "storage-full": "There is no room left to work in.",
  "quota-exceeded": "What it made would have gone past your storage quota.",
  "source-deleted": "What it was to read has been deleted.",
  "dependency-failed": "A step before it failed.",
  "storage-unavailable": "The store of files was away for too long.",
  "database-unavailable": "The database was away for too long.",
  "precision-unsupported": "The model does not run in this precision on this device.",
  "device-unavailable": "The worker does not have the device that it is told to use.",
  offline: "This installation asks no hub.",
  internal: "Something broke inside NeuraLib.",
};

export const reasonOf = (job: Job): string => (job.error ? (REASONS[job.error.code] ?? `${job.error.title}.`) : "");

/** What the model was, without its digest. */
export const modelOf = (job: Job): string => job.model.split("@")[0]!;
