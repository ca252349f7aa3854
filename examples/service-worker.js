// Keeps pages and the package for visits without a network. The model is not its business: the package stores it.
// It lies at the root of the site, so that it answers for the package's workers too.

const CACHE = 'examples';
const KEPT = [
  '/chat.html', '/search.html', '/pkg/index.js', '/pkg/engine-worker.js', '/pkg/io-worker.js', '/pkg/store-worker.js',
  ...['simd', 'relaxed', 'memory64', 'gpu'].flatMap((build) => [`/pkg/wasm/chord-${build}.js`, `/pkg/wasm/chord-${build}.wasm`]),
];

addEventListener('install', (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(KEPT)));
});

addEventListener('fetch', (event) => {
  const { request } = event;
  // Ranges are parts of a model.
  if (request.method !== 'GET' || request.headers.has('range') || new URL(request.url).origin !== location.origin) return;
  // The network first, so that a new version is seen; what was kept where there is none.
  event.respondWith(
    fetch(request).catch(async (error) => {
      const kept = await caches.match(request, { ignoreSearch: true });
      if (kept) return kept;
      throw error;
    }),
  );
});
