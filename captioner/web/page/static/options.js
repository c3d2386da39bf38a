// The form of options: empty fields are left to the server.

export class Options {
  constructor(form) {
    this.form = form;
  }

  /** Return the headers of a request. */
  headers() {
    const given = [...new FormData(this.form)].filter(([, value]) => value !== "");
    return Object.fromEntries(given);
  }

  /** Show the defaults and ranges of the captioner behind the page, as it describes them. */
  describe(options) {
    for (const [name, { default: value, minimum, maximum }] of Object.entries(options)) {
      const field = this.form.elements[name];
      if (field?.type === "number") {
        field.placeholder = value;
        Object.assign(field, { min: minimum, ...(Number.isFinite(maximum) && { max: maximum }) });
      } else if (field) {
        field.options[0].textContent = `as the server does: ${value ? "yes" : "no"}`;
      }
    }
    lower(this.form.elements.num_captions, options.beam_size?.default);
  }
}

/** Ask for no more captions at first than the captioner keeps. */
function lower(field, most) {
  if (field && Number(field.value) > most) {
    field.value = field.defaultValue = most;
  }
}
