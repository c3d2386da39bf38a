// How sure the captioner is, in words.

const STEPS = [
  [0.8, "Very likely a good caption"],
  [0.6, "Likely a good caption"],
  [0.4, "Perhaps a good caption"],
  [0.2, "Likely not a good caption"],
  [0, "Hardly a good caption"],
];

/** Return words for a confidence in 0..1; null is not known. */
export function confidenceWords(confidence) {
  if (confidence === null) {
    return "This captioner does not say how sure it is";
  }
  const [, words] = STEPS.find(([least]) => confidence >= least);
  return `${words}: ${percent(confidence)} sure`;
}

export function percent(confidence) {
  return `${Math.round(100 * confidence)} %`;
}
