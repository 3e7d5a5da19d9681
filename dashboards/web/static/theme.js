// Before the first paint: the theme of the address, else the one chosen last. Else the system's, by the style sheet.
(() => {
  const root = document.documentElement;
  if (root.dataset.theme) return;
  try {
    const saved = localStorage.getItem("assay-theme");
    if (saved === "light" || saved === "dark") root.dataset.theme = saved;
  } catch { /* storage is switched off: the system's theme stands */ }
})();
