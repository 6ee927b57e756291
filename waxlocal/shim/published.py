"""The public modules of `waxell_observe` 0.1.10, and the names that each offers.

Beside these it has a module `instrumentors.KEY_instrumentor` for each key of `libraries.LIBRARIES`,
with one class. Found by introspection; a test compares them with the package.
"""

from __future__ import annotations

__all__ = ["ERRORS", "MODULES"]

# Those of the names that are exceptions.
# fmt: off
ERRORS = frozenset((
    "DispatchError", "DispatchNotImplemented", "ManifestUnavailable", "MissingProviderSDK",
    "ModelNotResolvable", "NoCandidateForMode", "NoProviderAvailable", "SecretNotInEnvironment",
    "UnsupportedKind", "WaxellPolicyDenied",
))

MODULES = {
    "_init": "get_default_on_policy_block init shutdown",
    "anthropic": "anthropic instrument_all",
    "approval": (
        "ApprovalDecision PolicyViolationError auto_approve auto_deny extract_block_metadata "
        "handle_policy_block handle_policy_block_sync prompt_approval"
    ),
    "client": (
        "DailyRunInfo ObserveConfig PolicyCheckResult PromptInfo PromptNotFoundError RunInfo "
        "WaxellObserveClient close_pooled_clients inject_trace_context"
    ),
    "config": (
        "INTERACTION_MODES ObserveConfig detect_platform_external_id normalize_interaction_mode"
    ),
    "context": (
        "HumanTurn NoOpSpan PolicyCheckResult PolicyViolationError RunInfo WaxellAttributes "
        "WaxellContext WaxellObserveClient estimate_cost generate_session_id generate_trace_id "
        "remote_parent_scope session_scope start_agent_span start_decision_span "
        "start_governance_span start_llm_span start_reasoning_span start_retrieval_span "
        "start_retry_span start_step_span start_tool_span"
    ),
    "cost": "EMBEDDING_COSTS MODEL_COSTS MULTIMODAL_COSTS estimate_cost estimate_embedding_cost",
    "decision": "decision",
    "decisions": (
        "UnifiedDecisionResult WaxellPolicyDenied evaluate_decision is_unified_decisions_enabled"
    ),
    "decisions.local_eval": (
        "LocalDecision can_evaluate_local evaluate_local fold_confusables redact_text "
        "redact_value"
    ),
    "decisions.manifest": "clear_cache get_manifest has_surface policies_for_surface",
    "decisions.network_gate": "install_network_gate",
    "decisions.regions": (
        "GEOGRAPHIES describe_allowed describe_region geographies_of region_allowed "
        "region_country"
    ),
    "decisions.surface_gate": (
        "GateOutcome LocalDecision can_evaluate_local clear_server_cache emit_warn evaluate_local "
        "fail_closed flush_reports gate_enabled gate_memory_delete gate_surface get_manifest "
        "governance_overhead policies_for_surface reset_governance_overhead"
    ),
    "decisions.unified": "UnifiedDecisionResult evaluate_decision is_unified_decisions_enabled",
    "decorator": "PolicyViolationError WaxellContext WaxellObserveClient observe waxell_agent",
    "diagnose": "diagnose",
    "errors": "ConfigurationError ObserveError PolicyViolationError PromptNotFoundError",
    "host_info": "get_hardware_uuid",
    "host_info.hardware_id": "get_hardware_uuid reset_cache",
    "host_info.region": "apply_detected_region detect_execution_region reset_cache",
    "instrumentors": "BaseInstrumentor detect_installed_libraries instrument_all uninstrument_all",
    "instrumentors._base": "BaseInstrumentor",
    "instrumentors._collector": "BackgroundCollector _collector",
    "instrumentors._guard": "PromptGuardError PromptGuardResult check_prompt configure",
    "instrumentors.deepagents_fs_instrumentor": "DeepAgentsFilesystemInstrumentor INSTRUMENTOR",
    "instrumentors.huggingface_tgi_instrumentor": "HuggingFaceTGIInstrumentor args_has_positional",
    "instrumentors.langchain_instrumentor": "LangChainInstrumentor WaxellCallbackHandler",
    "instrumentors.langgraph_remote_instrumentor": "INSTRUMENTOR LangGraphRemoteInstrumentor",
    "instrumentors.mcp_instrumentor": "MCPInstrumentor configure_global configure_session",
    "instrumentors.llamaindex_instrumentor": "LlamaIndexInstrumentor WaxellCallbackHandler",
    "instrumentors.mcp_governance": (
        "PIIScanner RegexPIIScanner apply_throttle build_synthetic_error_result do_policy_check "
        "gate_mcp_before record_audit_attributes scan_text_for_pii"
    ),
    "instrumentors.mcp_security": (
        "ChangeDecision DescriptionChangeEvent ServerIdentity ToolChange ToolFingerprint "
        "acknowledge_fingerprint capture_fingerprints check_server_version_change "
        "compute_tool_fingerprint extract_server_identity generate_description_diff "
        "get_stored_fingerprint handle_tool_changes store_fingerprint"
    ),
    "integrations": "",
    "integrations.claude_code": (
        "DEFAULT_PROFILE GuardConfig GuardResult ISOLATION_PROFILE ISOLATION_PROJECT "
        "VALID_ISOLATIONS check_tool_use detect_status handle_hook handle_profile_detect "
        "load_config parse_transcript project_key_for remove_hooks setup_hooks"
    ),
    "integrations.claude_code.dlp": (
        "Flattened MAX_FLATTEN_CHARS MAX_FLATTEN_DEPTH MAX_FLATTEN_ELEMENTS detect flatten "
        "flatten_strings iin_ok in_uuid is_card luhn_ok redact ssn_ok uuid_spans"
    ),
    "integrations.claude_code.guard": (
        "GUARD_CONFIG_DEFAULTS GuardConfig GuardResult REMOTE_FETCH_FRESHNESS_SECONDS "
        "REMOTE_FETCH_TIMEOUT_SECONDS apply_ask_fallback check_secrets check_tool_use "
        "extract_shell_paths load_config shell_canonical_forms validate_config_file"
    ),
    "integrations.claude_code.guard_catalog": (
        "Entry FIELDS FieldSpec PLATFORMS catalog_by_field catalog_categories catalog_entries "
        "check_catalog entry_matches entry_to_dict field_specs regex_portability_error "
        "slugify_key validate_value"
    ),
    "integrations.claude_code.guard_catalog.commands_posix": "A B CATEGORIES ENTRIES Entry",
    "integrations.claude_code.guard_catalog.commands_windows": "CATEGORIES ENTRIES Entry",
    "integrations.claude_code.guard_catalog.files": "CATEGORIES ENTRIES Entry",
    "integrations.claude_code.guard_catalog.infra_paths_branches": "CATEGORIES ENTRIES Entry",
    "integrations.claude_code.guard_schema": (
        "CLAUDE_CODE_HOOK_EVENTS DEFAULT_HOOK_MATCHERS DEFAULT_HOOK_TIMEOUTS DLP_TYPE_LIBRARY "
        "GUARD_CONFIG_DEFAULTS GuardConfigSchema HOOKS_PROFILE_DEFAULTS HOOK_EVENT_METADATA "
        "HOOK_TOOL_METADATA VENDOR_GROUP_TOKENS capture_ui_schema chatgpt_capture_ui_schema "
        "command_rule_library dlp_type_library field_categories governance_ui_schema "
        "guard_defaults_for_platform hooks_ui_schema network_ui_schema to_json_schema"
    ),
    "integrations.claude_code.hook_handler": (
        "SessionState WaxellObserveClient cleanup_stale_states delete_state find_cowork_peer "
        "handle_hook load_state parse_transcript save_state"
    ),
    "integrations.claude_code.mcp_server": (
        "HANDLERS SERVER_NAME SERVER_VERSION TOOLS WaxellObserveClient load_state run_mcp_server "
        "run_stdio_loop"
    ),
    "integrations.claude_code.profile_detect": "PROFILE_FILENAME handle_profile_detect main",
    "integrations.claude_code.setup": (
        "DEFAULT_GOVERNANCE_MATCHER DEFAULT_PROFILE ISOLATION_PROFILE ISOLATION_PROJECT "
        "VALID_ISOLATIONS detect_status project_key_for remove_hooks setup_hooks"
    ),
    "integrations.claude_code.state": (
        "STATE_TTL_SECONDS SessionState cleanup_stale_states delete_state find_cowork_peer "
        "load_state save_state"
    ),
    "integrations.claude_code.transcript": (
        "DEFAULT_COST LlmCallData MODEL_COSTS TranscriptSummary parse_transcript"
    ),
    "integrations.cowork": (
        "DEFAULT_COWORK_PROFILE parse_audit_event register_mcp_config unregister_mcp_config "
        "watch_audit_logs"
    ),
    "integrations.cowork.audit_parser": "CoworkEvent parse_audit_event",
    "integrations.cowork.audit_watcher": "CoworkEvent parse_audit_event watch_audit_logs",
    "integrations.cowork.mcp_server": (
        "COWORK_AGENT_NAME COWORK_AGENT_TYPE HANDLERS SERVER_NAME SERVER_VERSION TOOLS "
        "WaxellObserveClient run_mcp_server run_stdio_loop"
    ),
    "integrations.langchain": (
        "GenAIAttributes PolicyViolationError RunInfo WaxellAttributes WaxellLangChainHandler "
        "WaxellObserveClient estimate_cost start_llm_span start_step_span start_tool_span"
    ),
    "integrations.langgraph": (
        "GenAIAttributes PolicyViolationError RunInfo WaxellAttributes WaxellLangGraphHandler "
        "WaxellObserveClient estimate_cost start_llm_span start_step_span start_tool_span"
    ),
    "integrations.llamaindex": (
        "PolicyViolationError RunInfo WaxellAttributes WaxellLlamaIndexHandler "
        "WaxellObserveClient estimate_cost start_llm_span start_retrieval_span start_step_span"
    ),
    "integrations.network_monitor": "",
    "integrations.network_monitor.command_runner": (
        "DEFAULT_PATCH_TIMEOUT PATCH_PATH execute_all execute_one get_handler register_handler"
    ),
    "integrations.network_monitor.policy_poller": (
        "DEFAULT_POLL_INTERVAL DEFAULT_REQUEST_TIMEOUT FetchResult GUARD_CONFIG_PATH "
        "GUARD_EFFECTIVE_PATH poll_once watch_policy"
    ),
    "integrations.network_monitor.uploader": (
        "DEFAULT_BATCH_SIZE DEFAULT_FLUSH_INTERVAL DEFAULT_POLL_INTERVAL INGEST_PATH SUBSYSTEM "
        "watch_flows"
    ),
    "llm": (
        "Candidate DEFAULT_MANIFEST_TTL_SECONDS DispatchAttempt DispatchError "
        "DispatchNotImplemented Manifest ManifestClient ManifestUnavailable MissingProviderSDK "
        "ModelCapabilityOverride ModelGroup ModelGroupEntry ModelNotResolvable NoCandidateForMode "
        "NoProviderAvailable ProviderInstance SecretNotInEnvironment TenantModel UnsupportedKind "
        "acall atext build_client call filter_chain_for_mode get_default_client json "
        "reset_default_client resolve_chain text tool"
    ),
    "llm.capability": "Candidate Manifest filter_chain_for_mode",
    "llm.clients": (
        "Candidate MissingProviderSDK SecretNotInEnvironment UnsupportedKind build_client "
        "is_retryable"
    ),
    "llm.dispatch": (
        "Candidate DispatchAttempt DispatchError DispatchNotImplemented Manifest "
        "MissingProviderSDK NoCandidateForMode NoProviderAvailable SecretNotInEnvironment "
        "UnsupportedKind acall atext build_client call dispatch_in_flight_token "
        "filter_chain_for_mode is_retryable json resolve_chain text tool"
    ),
    "llm.manifest": (
        "DEFAULT_MANIFEST_TTL_SECONDS Manifest ManifestClient ManifestUnavailable ObserveConfig "
        "get_default_client reset_default_client"
    ),
    "llm.resolver": "Candidate Manifest ModelNotResolvable ProviderInstance resolve_chain",
    "llm.types": (
        "Manifest ModelCapabilityOverride ModelGroup ModelGroupEntry ProviderInstance TenantModel"
    ),
    "llm_proxy": (
        "DecisionEmitter Finding ProxyConfig Verdict evaluate_request redact_request run_proxy"
    ),
    "llm_proxy.config": "PROVIDERS ProxyConfig",
    "llm_proxy.detection": (
        "DEFAULT_INJECTION_PATTERNS Finding Verdict evaluate_request redact_request"
    ),
    "llm_proxy.proxy": (
        "DecisionEmitter ProxyConfig Verdict evaluate_request redact_request run_proxy"
    ),
    "llm_proxy.telemetry": "DecisionEmitter Verdict",
    "mcp": "GovernanceMiddleware MiddlewareConfig ToolGovernanceConfig governance",
    "mcp.config": "MiddlewareConfig ToolGovernanceConfig",
    "mcp.decorators": "F ToolGovernanceConfig governance",
    "mcp.middleware": "GovernanceMiddleware MiddlewareConfig RateLimiter ToolGovernanceConfig",
    "mcp_proxy": "ProxyConfig ProxyServer ToolPolicyConfig create_proxy_server load_config",
    "mcp_proxy.config": (
        "ProxyConfig ToolPolicyConfig build_target_spec build_tool_configs load_config"
    ),
    "mcp_proxy.security": "SecurityMiddleware",
    "mcp_proxy.server": (
        "ProxyConfig ProxyServer build_target_spec build_tool_configs create_proxy_server "
        "load_config"
    ),
    "model_limits": "MODEL_CONTEXT_LIMITS get_context_limit",
    "openai": "instrument_all openai",
    "reasoning": "reasoning",
    "retrieval": "retrieval",
    "retry": "retry safe_error_str",
    "scanning": "PIIScanner RegexPIIScanner scan_text_for_pii",
    "scanning.scanner": "PIIScanner RegexPIIScanner scan_text_for_pii",
    "step": "safe_error_str step",
    "tool": "safe_error_str tool",
    "tracing": "flush_tracing get_tracer init_tracing is_tracing_enabled shutdown_tracing",
    "tracing.attributes": "GenAIAttributes MCPAttributes WaxellAttributes",
    "tracing.exporter": (
        "OtelConfig QuietExporter create_exporter discover_otel_config discover_otel_endpoint "
        "resolve_otel_config resolve_otel_endpoint"
    ),
    "tracing.propagation": "extract_trace_context inject_trace_context",
    "tracing.provider": (
        "SecretsIdGenerator create_log_provider create_provider create_resource "
        "create_waxell_only_provider shutdown_log_provider shutdown_provider"
    ),
    "tracing.span_processor": "WaxellSpanProcessor",
    "tracing.spans": (
        "GenAIAttributes MCPAttributes NoOpSpan WaxellAttributes get_tracer start_agent_span "
        "start_decision_span start_domain_span start_embedding_span start_governance_span "
        "start_guardrail_span start_llm_span start_mcp_tool_span start_reasoning_span "
        "start_retrieval_span start_retry_span start_signal_span start_step_span start_tool_span"
    ),
    "types": (
        "ApprovalDecision CompiledPromptList CompiledPromptText DailyRunInfo LlmCallInfo "
        "PolicyCheckResult PromptGuardResult PromptInfo RunCompleteResult RunInfo"
    ),
    "utils": "build_exception_attrs set_exception_attrs",
    "utils.exception_attrs": "build_exception_attrs safe_error_str set_exception_attrs",
}
# fmt: on
