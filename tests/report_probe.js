// Put into a copy of the page by test_report_browser.py; tells the surrounding page what a reader would meet.
window.addEventListener("load", async () => {
  await Promise.all([...document.images].map((image) => image.decode().catch(() => null)));
  document.querySelectorAll("details").forEach((part) => (part.open = true));
  const box = (element) => element.getBoundingClientRect();
  const page = document.documentElement;
  const images = [...document.images].map((image) => {
    const frame = image.closest(".scroll");
    return {
      natural: [image.naturalWidth, image.naturalHeight],
      shown: [box(image).width, box(image).height],
      alt: image.alt,
      inside: box(image).width <= frame.scrollWidth + 1 && box(image).left >= box(frame).left - 1,
      frameInside: box(frame).left >= 0 && box(frame).right <= page.clientWidth + 1,
    };
  });
  const table = [...document.querySelectorAll("table")].find((one) => one.tBodies[0].rows.length > 10);
  const keys = () => [...table.tBodies[0].rows].map((row) => row.cells[3].dataset.key);
  const before = keys();
  table.querySelectorAll("th button")[3].click();
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))); // after the unfolding was met
  document.querySelectorAll("details").forEach((part) => part.dispatchEvent(new Event("toggle")));
  const frames = [...document.querySelectorAll(".scroll")].map((frame) => ({
    goesOn: frame.scrollWidth > frame.clientWidth + 1,
    hinted: getComputedStyle(frame.nextElementSibling).display !== "none",
    fades: getComputedStyle(frame).maskImage !== "none",
  }));
  const wider = [...document.querySelectorAll(".scroll")].find((frame) => frame.scrollWidth > frame.clientWidth + 1);
  wider.scrollLeft = wider.scrollWidth;
  wider.dispatchEvent(new Event("scroll"));
  const focusable = document.querySelectorAll("a[href], button, summary, [tabindex='0']");
  focusable[0].focus();
  parent.postMessage({
    frames,
    fadesAtItsEnd: getComputedStyle(wider).maskImage !== "none",
    width: page.clientWidth,
    scrollWidth: page.scrollWidth,
    images,
    before,
    after: keys(),
    skip: [focusable[0].className, focusable[0].getAttribute("href"), box(focusable[0]).left >= 0],
    wide: [...document.querySelectorAll("main *, header *")]
      .filter((element) => !element.closest(".scroll, .skip") && box(element).right > page.clientWidth + 1)
      .map((element) => element.outerHTML.slice(0, 80)),
    external: performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => !name.startsWith("data:")),
  }, "*");
});
