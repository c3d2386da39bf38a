// How sure the captioner is, in words.

const STEPS = [
  [0.8, "very likely a good caption"],
  [0.6, "likely a good caption"],
  [0.4, "perhaps a good caption"],
  [0.2, "probably wrong"],
  [0, "very probably wrong"],
];

/** Return words for a confidence in 0..1; null is not known. */
export function confidenceWords(confidence) {
  if (confidence === null) {
    return "This captioner does not say how sure it is";
  }
  const [, words] = STEPS.find(([least]) => confidence >= least);
  return `${percent(confidence)} sure: ${words}`;
}

export function percent(confidence) {
  return `${Math.round(100 * confidence)} %`;
}
