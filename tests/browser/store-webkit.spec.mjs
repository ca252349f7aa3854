// The durable store over a file system that behaves as WebKit's: no browser here has that one.

process.env.CHORD_FILES = 'webkit';
await import('./store.spec.mjs');
