// One request at a time: meanwhile only the newest further one is kept, and sent when the response is there.

export class Latest {
  #controller = null;
  #next = null;

  // place: the element with aria-busy meanwhile; fail: called with an error.
  constructor(place, fail) {
    this.place = place;
    this.fail = fail;
  }

  // work: a function of an AbortSignal that returns a promise.
  ask(work) {
    this.#next = work;
    if (!this.#controller) this.#run();
  }

  // The current request is no longer needed.
  cancel() {
    this.#next = null;
    this.#controller?.abort();
    this.#end();
  }

  async #run() {
    const controller = (this.#controller = new AbortController());
    this.place.setAttribute("aria-busy", "true");
    while (this.#next && this.#controller === controller) {
      const work = this.#next;
      this.#next = null;
      try {
        await work(controller.signal);
      } catch (error) {
        if (error.name !== "AbortError" && this.#controller === controller) this.fail(error);
      }
    }
    if (this.#controller === controller) this.#end();
  }

  #end() {
    this.#controller = null;
    this.place.removeAttribute("aria-busy");
  }
}
