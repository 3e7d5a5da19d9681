// Bounds as lines that can be dragged, or moved by the arrow keys. The number inputs beside them do the same without this file.
(() => {
  const NS = "http://www.w3.org/2000/svg";
  const draw = (svg, name, attributes, text) => {
    const item = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) item.setAttribute(key, value);
    if (text !== undefined) item.textContent = text;
    svg.append(item);
    return item;
  };
  const short = (value) => String(Number(value.toPrecision(4)));

  function setUp(figure) {
    if (figure.dataset.ready || !("drag" in figure.dataset)) return;
    figure.dataset.ready = "1";
    const svg = figure.querySelector("svg.histogram");
    const axis = svg && svg.querySelector("line.axis");
    const form = figure.closest("form");
    if (!axis || !form) return;
    svg.removeAttribute("role");  // its handles are to be found
    const left = Number(axis.getAttribute("x1")), right = Number(axis.getAttribute("x2")), base = Number(axis.getAttribute("y1"));
    const log = "log" in figure.dataset, whole = "integer" in figure.dataset;
    const scale = (value) => log ? Math.log1p(Math.max(value, -0.999)) : value;
    const unscale = (place) => log ? Math.expm1(place) : place;
    const low = scale(Number(figure.dataset.low)), high = scale(Number(figure.dataset.high));
    const place = (value) => left + (right - left) * Math.min(1, Math.max(0, (scale(value) - low) / (high - low)));
    const value = (x) => unscale(low + (high - low) * Math.min(1, Math.max(0, (x - left) / (right - left))));
    const tidy = (found) => whole ? Math.round(found) : Number(found.toPrecision(6));

    const handles = {};
    for (const side of ["low", "high"]) {
      const input = form.querySelector(`#bound-${side}`);
      if (!input) continue;
      const given = input.value !== "" ? Number(input.value) : figure.dataset[side === "low" ? "atLow" : "atHigh"];
      if (given === undefined || given === "") continue;
      handle(side, input, Number(given));
    }

    function handle(side, input, start) {
      let now = start, timer = 0;
      const shade = draw(svg, "rect", { class: "outside", y: 34, height: base - 34 });
      const item = draw(svg, "g", {
        class: "handle", tabindex: 0, role: "slider", id: `handle-${side}`, "data-testid": `handle-${side}`,
        "aria-label": side === "low" ? "At least" : "At most", "aria-orientation": "horizontal",
        "aria-valuemin": figure.dataset.low, "aria-valuemax": figure.dataset.high,
      });
      const line = draw(item, "line", { y1: 26, y2: base });
      const grab = draw(item, "rect", { class: "grab", y: 20, width: 22, height: base - 20 });
      const knob = draw(item, "circle", { class: "knob", cy: 26, r: 6 });
      const words = draw(item, "text", { y: 14, "text-anchor": "middle" });
      handles[side] = () => now;

      const show = () => {
        const x = place(now);
        line.setAttribute("x1", x); line.setAttribute("x2", x); knob.setAttribute("cx", x); grab.setAttribute("x", x - 11);
        words.setAttribute("x", Math.min(right - 16, Math.max(left + 16, x)));
        words.textContent = `${side === "low" ? "≥" : "≤"} ${short(now)}`;
        shade.setAttribute("x", side === "low" ? left : x);
        shade.setAttribute("width", Math.max(0, side === "low" ? x - left : right - x));
        item.setAttribute("aria-valuenow", now); item.setAttribute("aria-valuetext", `${side === "low" ? "at least" : "at most"} ${short(now)}`);
      };
      const send = () => {
        const top = form.querySelector("#bound-top");
        if (top) top.disabled = true;  // a bound takes the fraction's place
        input.dispatchEvent(new Event("change", { bubbles: true }));
      };
      const move = (next) => {
        const other = handles[side === "low" ? "high" : "low"];
        if (other) next = side === "low" ? Math.min(next, other()) : Math.max(next, other());
        now = tidy(next);
        input.value = String(now);
        show();
      };
      // typed numbers count at once; the fraction gives way to them
      input.addEventListener("input", () => {
        if (input.value === "") return;
        now = Number(input.value);
        const top = form.querySelector("#bound-top");
        if (top) top.disabled = true;
        show();
      });
      item.addEventListener("pointerdown", (event) => {
        item.setPointerCapture(event.pointerId); item.classList.add("held"); item.focus({ preventScroll: true }); event.preventDefault();
      });
      item.addEventListener("pointermove", (event) => {
        if (!item.hasPointerCapture(event.pointerId)) return;
        const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
        move(value(point.x));
      });
      item.addEventListener("pointerup", (event) => {
        if (!item.hasPointerCapture(event.pointerId)) return;
        item.releasePointerCapture(event.pointerId); item.classList.remove("held"); send();
      });
      item.addEventListener("keydown", (event) => {
        const far = event.shiftKey ? 10 : 1;
        const step = (right - left) / 200 * far;
        const ways = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
        if (event.key === "Home") move(Number(figure.dataset.low));
        else if (event.key === "End") move(Number(figure.dataset.high));
        else if (event.key in ways) {
          const next = value(place(now) + ways[event.key] * step);
          move(whole && Math.round(next) === now ? now + Math.sign(ways[event.key]) : next);
        } else return;
        event.preventDefault();
        clearTimeout(timer);
        timer = setTimeout(send, 250);
      });
      show();
    }
  }

  let last = "";
  document.addEventListener("focusin", (event) => { last = event.target.closest?.(".handle")?.id ?? ""; });
  const all = () => {
    document.querySelectorAll("figure.score:not([data-ready])").forEach(setUp);
    // the line that had the focus was exchanged for a new one of the same name
    if (last && document.activeElement === document.body) document.getElementById(last)?.focus({ preventScroll: true });
  };
  all();
  // the figure is exchanged with each answer
  new MutationObserver(all).observe(document.getElementById("main"), { childList: true, subtree: true });
})();
