// One request at a time: while it is under way only the newest further wish is kept, and asked for when it is back.

export class Latest {
  #controller = null;
  #next = null;

  // place: what says aria-busy meanwhile; fail: what is told of an error.
  constructor(place, fail) {
    this.place = place;
    this.fail = fail;
  }

  // work: a function of an AbortSignal that returns a promise.
  ask(work) {
    this.#next = work;
    if (!this.#controller) this.#run();
  }

  // What is under way is of no use any more.
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
