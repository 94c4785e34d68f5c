// The same program in several languages: one tab each. The language that was chosen last is shown everywhere.
(() => {
    const NAMES = { "language-c": "C", "language-python": "Python", "language-rust": "Rust" };
    const boxes = [...document.querySelectorAll(".languages")];

    function choose(name) {
        for (const box of boxes) {
            for (const tab of box.querySelectorAll("[role=tab]")) {
                tab.setAttribute("aria-selected", tab.textContent === name);
            }
            for (const program of box.children) {
                if (program.dataset.language) program.hidden = program.dataset.language !== name;
            }
        }
        try {
            localStorage.setItem("rsipc-language", name);
        } catch { /* Without storage it is forgotten. */ }
    }

    for (const box of boxes) {
        const tabs = document.createElement("div");
        tabs.className = "tabs";
        tabs.setAttribute("role", "tablist");
        for (const program of [...box.children]) {
            const code = program.querySelector("code");
            const name = code && NAMES[[...code.classList].find((item) => item in NAMES)];
            if (!name) continue;
            program.dataset.language = name;
            const tab = document.createElement("button");
            tab.setAttribute("role", "tab");
            tab.textContent = name;
            tab.addEventListener("click", () => choose(name));
            tabs.append(tab);
        }
        box.prepend(tabs);
    }

    let last = null;
    try {
        last = localStorage.getItem("rsipc-language");
    } catch { /* As above. */ }
    choose(Object.values(NAMES).includes(last) ? last : "C");
})();
