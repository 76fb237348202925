import js from '@eslint/js';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', 'eslint.config.js', 'src/api/schema.ts'] },
  js.configs.recommended,
  tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { attributes: false } }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      eqeqeq: 'error',
      'no-console': 'error',
      'no-restricted-syntax': [
        'error',
        { selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']", message: 'no raw HTML' },
        { selector: "AssignmentExpression[left.property.name='innerHTML']", message: 'no raw HTML' },
      ],
    },
  },
  {
    // The conference client runs without a page, so that tests and bots can use it.
    files: ['src/rtc/**/*.ts'],
    rules: {
      'no-restricted-globals': ['error', 'document', 'window', 'location', 'localStorage', 'HTMLElement'],
      'no-restricted-imports': ['error', { patterns: ['preact', '@preact/signals', '../ui/*', '../room/*', '../console/*', '../features/*'] }],
    },
  },
);
