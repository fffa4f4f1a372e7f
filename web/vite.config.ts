import { defineConfig } from "vite";

// The server answers at / with index.html and below /page/ with everything that has a digest in its name.
export default defineConfig({
  base: "/page/",
  build: {
    outDir: "../src/neuralib/page",
    emptyOutDir: true,
    assetsDir: "",
    target: "es2022",
    modulePreload: { polyfill: false }, // it would be an inline script
    assetsInlineLimit: 0,
    reportCompressedSize: true,
  },
  server: { proxy: { "/api": "http://127.0.0.1:8080" } },
});
