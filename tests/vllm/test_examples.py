"""The examples of servers are ones that vLLM's own parser takes, and mean the same."""

import served

_MEANT = {
    "limit_mm_per_prompt": {"image": 1},
    "enable_prefix_caching": False,
    "mm_processor_cache_gb": 0,
    "generation_config": "vllm",
    "max_model_len": 8192,
    "max_num_seqs": 256,
    "max_num_batched_tokens": 16384,
    "api_server_count": 4,
}


def test_vllm_takes_the_arguments_of_every_example_and_takes_them_alike() -> None:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser())
    places = served.arguments()
    assert len(places) == 6
    for place, arguments in places.items():
        parsed = parser.parse_args(arguments)
        validate_parsed_serve_args(parsed)
        assert {name: getattr(parsed, name) for name in _MEANT} == _MEANT, place
        assert "deepseek-ai/DeepSeek-OCR" in (parsed.model_tag, parsed.model), place
        assert len(parsed.logits_processors) == 1, place
