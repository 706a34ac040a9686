"use strict";
(() => {
  // Asks the server whether anything changed, and if so loads the page again where it stands.
  let known = null;
  const ask = async () => {
    try {
      const answer = await fetch("/state" + location.pathname, { cache: "no-store" });
      const now = answer.ok ? await answer.text() : known;
      if (known !== null && now !== known && !document.hidden) location.reload();
      if (known === null) known = now;
    } catch { /* the server is gone; what is shown stays */ }
    setTimeout(ask, 2000);
  };
  ask();
})();
