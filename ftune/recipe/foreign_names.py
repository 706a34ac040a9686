"""The table of other tools' names: axolotl (ax), LLaMA-Factory (LF), TRL with the TrainingArguments
of transformers (TRL), and torchtune (tt).

A row is: the key here, or ``-`` where there is none; who says so; after a bar, what else to say;
and indented below, the names.
"""

from __future__ import annotations

TOOLS = {"ax": "axolotl", "LF": "LLaMA-Factory", "TRL": "TRL", "tt": "torchtune"}

ROWS = """
model.name_or_path ax
    base_model base_model_config
model.name_or_path LF,TRL
    model_name_or_path
model.name_or_path tt
    checkpointer tokenizer checkpoint_dir checkpoint_files
model.name_or_path TRL
    model_name model_id pretrained_model_name_or_path
model.revision ax,TRL
    revision_of_model model_revision
model.dtype TRL,tt | bfloat16, float16, float32 or auto
    torch_dtype
model.dtype LF
    infer_dtype
model.attn_implementation ax | sdpa, eager or flash_attention_2
    flash_attention sdp_attention eager_attention flash_attn_fuse_qkv xformers_attention
model.attn_implementation LF | sdpa, eager or flash_attention_2
    flash_attn
model.quantization.load_in_4bit LF | load_in_4bit: true or load_in_8bit: true
    quantization_bit
model.quantization.load_in_4bit TRL | 4-bit weights have double quantization by default
    use_bnb_nested_quant
model.quantization.bnb_4bit_use_double_quant LF
    double_quantization
model.quantization.bnb_4bit_quant_type LF
    quantization_type
model.quantization ax
    gptq bnb_config_kwargs
model.quantization LF,tt
    quantization_method quantizer quantize_base
model.add_tokens ax
    tokens
model.add_tokens LF
    new_special_tokens add_special_tokens
model.add_tokens ax,tt
    special_tokens added_tokens
data.train ax,TRL,tt | a list of {path, format}
    datasets dataset dataset_name dataset_path
data.train LF | a list of {path, format}
    dataset_dir train_dataset train_file data_path
data.eval ax | a share such as 0.05, or a list of sources
    val_set_size test_datasets
data.eval LF | a share such as 0.05, or a list of sources
    val_size eval_dataset
data.eval TRL,tt | a share such as 0.05, or a list of sources
    dataset_test_split dataset_val run_validation validation_file
data.train.path ax,LF
    data_files file_name hf_hub_url script_url
data.train.path tt
    source
data.train.format ax,LF
    type formatting dataset_format ds_type
data.train.split ax,TRL
    train_on_split dataset_train_split
data.train.subset TRL
    dataset_config dataset_config_name dataset_kwargs
data.train.columns ax
    field_messages field_human field_model field_instruction field_input field_output
    field_system message_field_role message_field_content message_property_mappings
data.train.columns TRL,tt
    dataset_text_field column_map column
data.train.max_rows LF
    max_samples num_samples
data.train.weight LF
    interleave_probs mix_strategy
data.template ax,LF,TRL
    chat_template chat_template_path prompt_template prompt_style chat_template_jinja
data.system_prompt ax,LF
    default_system_message default_system system_message
data.system_prompt tt
    new_system_prompt
data.max_length ax
    sequence_len sequence_length
data.max_length LF,TRL,tt
    cutoff_len max_seq_length max_seq_len model_max_length block_size
data.on_too_long ax
    excess_length_strategy
data.train_on ax | completion, assistant or all
    train_on_inputs roles_to_train train_on_eos
data.train_on LF | completion, assistant or all
    train_on_prompt mask_history
data.train_on TRL | completion, assistant or all
    completion_only_loss assistant_only_loss
data.train_on tt | completion, assistant or all
    masking_strategy
data.packing ax
    sample_packing multipack_real_batches eval_sample_packing pad_to_sequence_len
    sample_packing_eff_est
data.packing LF
    neat_packing
data.packing TRL,tt
    packed padding_free
tune.method ax | method: lora, qlora, prompt_tuning or full
    adapter
tune.method LF | method: lora, qlora, prompt_tuning or full
    finetuning_type
tune.method TRL | method: lora, qlora, prompt_tuning or full
    use_peft peft_type lora_task_type task_type
tune.r ax,TRL
    lora_r
tune.r LF,tt
    lora_rank rank
tune.lora_alpha tt
    alpha
tune.target_modules ax | target_modules: all-linear takes all linear layers
    lora_target_modules lora_target_linear lora_target_parameters
tune.target_modules LF,TRL | target_modules: all-linear takes all linear layers
    lora_target
tune.target_modules tt | target_modules: all-linear takes all linear layers
    lora_attn_modules apply_lora_to_mlp apply_lora_to_output
tune.modules_to_save ax,TRL
    lora_modules_to_save
tune.modules_to_save LF
    additional_target
tune.use_rslora ax,LF,TRL
    peft_use_rslora lora_use_rslora
tune.use_dora ax,tt
    peft_use_dora
tune.num_virtual_tokens LF
    prompt_tuning_num_virtual_tokens num_prompt_tokens
train.objective LF | sft by default
    stage
train.objective ax | sft by default
    rl
train.objective tt | sft by default
    loss loss_fn
train.learning_rate tt
    lr
train.num_train_epochs ax,tt
    num_epochs epochs
train.max_steps tt
    max_steps_per_epoch
train.per_device_train_batch_size ax
    micro_batch_size
train.per_device_train_batch_size tt
    batch_size
train.per_device_train_batch_size TRL
    train_batch_size
train.per_device_eval_batch_size ax
    eval_batch_size
train.per_device_eval_batch_size tt
    batch_size_val
train.gradient_accumulation_steps tt
    gradient_accumulation accumulation_steps
train.group_by_length TRL
    length_grouped_batching train_sampling_strategy
train.optim tt,ax
    optimizer
train.adam_beta1 ax,TRL
    adam_beta_1 beta1
train.adam_beta2 ax,TRL
    adam_beta_2 beta2
train.adam_epsilon ax,TRL
    adam_eps eps
train.max_grad_norm tt
    clip_grad_norm
train.max_grad_norm ax
    gradient_clipping grad_clip
train.lr_scheduler_type ax,tt
    lr_scheduler
train.lr_scheduler_type TRL
    scheduler lr_schedule
train.warmup_steps tt
    num_warmup_steps
train.gradient_checkpointing tt
    enable_activation_checkpointing
train.gradient_checkpointing TRL,LF
    gradient_checkpointing_kwargs disable_gradient_checkpointing use_reentrant
train.logging_steps tt
    log_every_n_steps
train.eval_steps ax | null is after each epoch
    evals_per_epoch eval_strategy evaluation_strategy
train.eval_steps tt
    run_val_every_n_steps
train.save_steps ax | null is after each epoch
    saves_per_epoch save_strategy
train.save_steps tt
    save_every_n_steps
train.load_best_model_at_end ax,TRL
    metric_for_best_model greater_is_better save_best_only
train.report_to ax | [tensorboard], [wandb] or [mlflow]
    wandb_project wandb_entity wandb_name wandb_watch wandb_log_model use_wandb
    mlflow_experiment_name mlflow_tracking_uri use_mlflow use_tensorboard
train.report_to tt | [tensorboard], [wandb] or [mlflow]
    metric_logger
train.seed TRL
    data_seed random_seed
evaluate.metrics LF,ax
    predict_with_generate compute_accuracy eval_causal_lm_metrics do_bench_eval
evaluate.batch_size LF
    predict_batch_size
evaluate.generation.max_new_tokens ax,LF
    eval_max_new_tokens max_tokens generation_max_length
distributed.mixed_precision ax,TRL | no, bf16 or fp16; the type of the weights is model.dtype
    bf16 fp16 mixed_precision_training
distributed.mixed_precision LF | no, bf16 or fp16; the type of the weights is model.dtype
    pure_bf16
distributed.fsdp ax,TRL,LF | a section, of which {} takes the defaults
    fsdp_config fsdp_version
distributed.fsdp.transformer_layer_cls_to_wrap ax,TRL
    fsdp_transformer_layer_cls_to_wrap
distributed.fsdp.cpu_offload ax,TRL,tt
    fsdp_offload_params fsdp_cpu_offload
distributed.fsdp.reshard_after_forward ax,TRL,tt
    fsdp_reshard_after_forward
name LF,TRL
    run_name experiment_name
runs_dir ax,LF,TRL,tt
    output_dir logging_dir dataset_prepared_path log_dir
- LF,TRL | the command says it (ftune train, ftune eval); remove the line
    do_train do_eval do_predict
- LF,TRL,ax | nothing is overwritten; remove the line, and use --fresh to start anew
    overwrite_output_dir overwrite_cache
- ax,TRL,tt | the same command goes on where a run stopped; remove the line
    resume_from_checkpoint auto_resume_from_checkpoints
- ax | it is found from the model; remove the line
    model_type tokenizer_type tokenizer_config is_llama_derived_model is_mistral_derived_model
    tokenizer_use_fast
- TRL,LF | the tokenizer comes with the model; remove the line
    tokenizer_name tokenizer_name_or_path use_fast_tokenizer config_name cache_dir
- TRL,ax | ftune uploads nothing; remove the line
    push_to_hub hub_model_id hub_strategy hub_token hf_use_auth_token hub_private_repo
- TRL,ax,LF | processes are started by accelerate; remove the line
    ddp_timeout ddp_find_unused_parameters local_rank world_size
- ax,TRL | ftune decides it; remove the line
    tf32
- TRL,LF | ftune decides it; remove the line
    dataloader_num_workers preprocessing_num_workers dataset_num_proc remove_unused_columns
    dataset_processes dataloader_pin_memory
- ax | there is nothing like it; remove the line
    strict plugins debug adapter_config lora_model_dir
- LF | the report always has the loss curve; remove the line
    plot_loss plot_figure
- tt | there is nothing like it; remove the line
    profiler compile shuffle _component_ device_memory_stats log_peak_memory_stats log_level
    enable_activation_offloading custom_sharded_layers
"""

# Names that mean something only where they stand: the dotted path without indexes.
THERE = {
    "model.path": "model.name_or_path",
    "model.name": "model.name_or_path",
    "model.id": "model.name_or_path",
    "model._component_": "model.name_or_path",
    "model.load_in_4bit": "model.quantization.load_in_4bit",
    "model.load_in_8bit": "model.quantization.load_in_8bit",
    "data.path": "data.train[0].path",
    "data.format": "data.train[0].format",
    "data.columns": "data.train[0].columns",
    "data.train.name": "data.train.subset",
    "data.train.tags": "data.train.columns",
    "data.train.messages": "data.train.columns",
    "data.validation": "data.eval",
    "tune.type": "tune.method",
    "tune.name": "tune.method",
    "tune.alpha": "tune.lora_alpha",
    "tune.dropout": "tune.lora_dropout",
    "train.epochs": "train.num_train_epochs",
    "train.batch_size": "train.per_device_train_batch_size",
    "evaluate.generation.max_length": "evaluate.generation.max_new_tokens",
    "evaluate.generation.min_p": "evaluate.generation.top_p",
    "evaluate.generation.beams": "evaluate.generation.num_beams",
    "evaluate.generation.stop_strings": "evaluate.generation.stop",
}
