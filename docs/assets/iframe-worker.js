// Browsers allow no web workers on pages that are opened from disk. There, the script of a worker runs in a hidden frame,
// so that the search of this site works without a server.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      inside.postMessage = (data) => setTimeout(() => this.dispatchEvent(new MessageEvent("message", { data })));
      this.ready = this.load(url);
      inside.importScripts = async (...urls) => { for (const one of urls) await this.load(one); };
    }
    load(url) {
      const script = this.frame.contentDocument.createElement("script");
      script.src = new URL(url, location.href).href;
      this.frame.contentDocument.body.append(script);
      return new Promise((done, failed) => { script.onload = done; script.onerror = failed; });
    }
    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })));
    }
    terminate() { this.frame.remove(); }
  };
}
