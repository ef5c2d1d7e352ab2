import js from '@eslint/js';

const universal = [
    'ArrayBuffer', 'DOMException', 'TextDecoder', 'TextEncoder', 'URL', 'atob', 'btoa', 'queueMicrotask',
];
const ofPages = ['ResizeObserver', 'document', 'fetch', 'location', 'matchMedia', 'navigator'];

const readonly = (names) => Object.fromEntries(names.map((name) => [name, 'readonly']));

export default [
    { ignores: ['**/node_modules/', '**/vendor/', '**/*.d.ts', '**/*.ts'] },
    js.configs.recommended,
    {
        languageOptions: {
            ecmaVersion: 2022,
            sourceType: 'module',
            globals: readonly(universal),
        },
        rules: {
            eqeqeq: 'error',
            'no-var': 'error',
            'prefer-const': 'error',
            indent: ['error', 4],
            semi: 'error',
            quotes: ['error', 'single', { avoidEscape: true }],
            'max-len': ['error', { code: 120 }],
        },
    },
    {
        files: ['wsproxy/static/{dial,lines,ws*}.js'],
        ignores: ['wsproxy/static/websock.js'],
        languageOptions: { globals: readonly(ofPages) },
    },
];
